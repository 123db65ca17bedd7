"""Stamps of cached orders: they compare as text as they do as numbers; what is stored is read, or is not ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from consumer.cache.entry import Entry, gone, unpacked

_STAMP = 54

versions = st.integers(0, 2**63 - 1)
moments = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  given a zone
entries = st.builds(Entry, versions, versions, moments, st.binary(min_size=1, max_size=50))
marks = st.builds(Entry, versions, versions, st.none(), st.just(b""))


@given(entries | marks)
def test_an_entry_comes_back_as_it_was(entry: Entry) -> None:
    assert unpacked(entry.packed()) == entry


@given(entries | marks, entries | marks)
def test_stamps_compare_as_text_as_they_do_as_numbers(one: Entry, other: Entry) -> None:
    never = datetime(1970, 1, 1, tzinfo=UTC)
    numbers = [(each.generation, each.version, each.as_of or never) for each in (one, other)]
    texts = [each.packed()[:_STAMP] for each in (one, other)]
    assert (texts[0] < texts[1]) == (numbers[0] < numbers[1])
    assert (texts[0] == texts[1]) == (numbers[0] == numbers[1])


@given(entries)
def test_a_mark_of_the_same_version_is_older_than_the_order_and_of_the_next_is_newer(entry: Entry) -> None:
    stamp = entry.packed()[:_STAMP]
    assert Entry(entry.generation, entry.version).packed() < stamp
    assert Entry(entry.generation, entry.version + 1).packed() > stamp
    assert gone(entry.generation).packed() > stamp
    assert gone(entry.generation).packed() < Entry(entry.generation + 1, 0).packed()


@given(st.binary(max_size=120))
def test_whatever_is_stored_is_read_or_is_not_ours(stored: bytes) -> None:
    found = unpacked(stored)
    assert found is None or found.packed() == stored


def test_the_moment_is_kept_to_the_microsecond() -> None:
    moment = datetime(2026, 11, 27, 12, 0, 0, 123_457, tzinfo=UTC) + timedelta(days=1)
    found = unpacked(Entry(1, 2, moment, b"{}").packed())
    assert found is not None
    assert found.as_of == moment
