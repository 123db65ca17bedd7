"""Items set aside in files: nothing is lost, everything in its order, and memory for a part of it only."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.spill import Ranges, Spill, pieces, scratch


@pytest.fixture
def directory() -> Iterator[Path]:
    with scratch("test-spill-") as made:
        yield made


def identity(item: str) -> str:
    return item


@given(st.lists(st.text(max_size=4)), st.text(max_size=4))
def test_an_order_is_in_the_range_whose_span_it_is_in(bounds: list[str], order_id: str) -> None:
    ranges = Ranges(bounds)
    first, end = ranges.span(ranges.of(order_id))
    assert first <= order_id
    assert end is None or order_id < end
    assert [number for number in range(len(ranges)) if ranges.span(number)[0] <= order_id][-1] == ranges.of(order_id)


def test_ranges_are_in_byte_order_as_postgresql_has_them() -> None:
    ranges = Ranges(["é", "b", "", "b"])
    assert [ranges.span(number) for number in range(len(ranges))] == [("", "b"), ("b", "é"), ("é", None)]
    assert [ranges.of(order_id) for order_id in ("", "B", "b", "z", "é", "😀")] == [0, 0, 1, 1, 2, 2]


def test_a_directory_is_for_nobody_else_and_gone_with_all_in_it() -> None:
    with scratch("test-spill-") as directory:
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        (directory / "x").write_text("x")
    assert not directory.exists()


@pytest.mark.parametrize("memory", [1, 3, 100])
def test_a_place_has_its_items_in_the_order_in_which_they_came(directory: Path, memory: int) -> None:
    spill = Spill(directory, memory=memory)
    for number in range(10):
        spill.add(number % 2, (number, "x"))
    assert (spill.count(0), spill.count(1), spill.count(2)) == (5, 5, 0)
    assert [item[0] for item in spill.read(1)] == [1, 3, 5, 7, 9]
    assert list(spill.read(2)) == []
    spill.add(1, (11, "x"))
    assert [item[0] for item in spill.read(1)][-2:] == [9, 11]
    spill.forget(1)
    assert (list(spill.read(1)), spill.count(1), spill.count(0)) == ([], 0, 5)


def test_what_several_have_written_is_read_writer_by_writer(directory: Path) -> None:
    for writer in (10, 9):
        one = Spill(directory, writer)
        one.add(1, f"{writer}a")
        one.add(1, f"{writer}b")
        one.add(11, "other")
        one.flush()
    assert list(Spill(directory).read(1)) == ["9a", "9b", "10a", "10b"]


ROWS = st.lists(st.tuples(st.integers(), st.text()) | st.tuples(st.integers(), st.binary(), st.none()) | st.text())


@given(ROWS, st.integers(1, 9))
def test_rows_come_back_as_they_were_of_one_width_or_of_several(items: list[object], memory: int) -> None:
    with scratch("test-spill-") as directory:
        spill = Spill(directory, memory=memory)
        for item in items:
            spill.add(0, item)
        assert list(spill.read(0)) == items


def test_weights_say_when_it_is_written(directory: Path) -> None:
    spill = Spill(directory, memory=10)
    spill.add(0, "light", 9)
    assert not list(directory.iterdir())
    spill.add(0, "heavy", 50)
    assert len(list(directory.iterdir())) == 1


@given(st.lists(st.text("abc", max_size=3), max_size=200), st.integers(1, 50))
def test_pieces_are_all_of_it_cut_between_orders(items: list[str], most: int) -> None:
    with scratch("test-spill-") as directory:
        spill = Spill(directory, memory=20)
        for item in items:
            spill.add(3, item)
        found = list(pieces(spill, 3, ("", None), identity, most))
    assert sorted(item for _, some in found for item in some) == sorted(items)
    spans = [span for span, _ in found]
    assert [span[0] for span in spans] == ["", *[span[1] for span in spans[:-1]]]
    assert spans[-1][1] is None
    for (first, end), some in found:
        assert all(first <= item and (end is None or item < end) for item in some)
        assert some == [item for item in items if first <= item and (end is None or item < end)]


def test_what_is_too_much_is_cut_and_one_order_never_is(directory: Path) -> None:
    spill = Spill(directory)
    for number in range(1_000):
        spill.add(0, f"o-{number:03d}")
        spill.add(0, "hot")
    sizes = [(span, len(some)) for span, some in pieces(spill, 0, ("a", "z"), identity, 100)]
    assert max(size for _, size in sizes) == 1_000
    assert sum(size > 300 for _, size in sizes) == 1
    assert (sizes[0][0][0], sizes[-1][0][1]) == ("a", "z")


def test_a_place_that_is_small_enough_is_one_piece(directory: Path) -> None:
    spill = Spill(directory)
    spill.add(0, "a")
    assert list(pieces(spill, 0, ("", "b"), identity, 1)) == [(("", "b"), ["a"])]
    assert list(pieces(spill, 1, ("b", None), identity, 1)) == [(("b", None), [])]
