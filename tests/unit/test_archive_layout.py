"""The archive's layout: names, what files say of themselves, and what has to be written next."""

from __future__ import annotations

import pytest
from aiokafka import TopicPartition

from consumer import archive_layout
from consumer.archive_layout import Damaged, Last, Segment
from runtime.kafka import Ends
from schemas.errors import Refused

ONE = TopicPartition("orders.events", 3)
FOLDER = "b/p/topics/orders.events/partition=3"
NAMED = f"{FOLDER}/orders.events+3+0000000120.parquet"


def segment(first: int, end: int, *, lost: bool = False, last: Last | None = None) -> Segment:
    path = f"{archive_layout.folder(*ONE)}/{archive_layout.file_name(ONE, first)}"
    return Segment(path, ONE, first, end, 0 if lost else end - first, lost, last)


def said(one: Segment, **changed: str) -> dict[bytes, bytes]:
    text = archive_layout.to_metadata(one) | {f"projector.{name}": value for name, value in changed.items()}
    return {name.encode(): value.encode() for name, value in text.items()}


def test_a_file_is_where_kafka_connect_would_put_it() -> None:
    assert archive_layout.folder("orders.events") == "topics/orders.events"
    assert archive_layout.folder(*ONE) == "topics/orders.events/partition=3"
    assert archive_layout.file_name(ONE, 120) == "orders.events+3+0000000120.parquet"
    assert archive_layout.file_name(ONE, 12_345_678_901) == "orders.events+3+12345678901.parquet"


@pytest.mark.parametrize("first", [0, 120, 9_999_999_999, 12_345_678_901, 2**63 - 1])
def test_a_files_name_is_read_back(first: int) -> None:
    assert archive_layout.place_of(f"{FOLDER}/{archive_layout.file_name(ONE, first)}") == (ONE, first)


@pytest.mark.parametrize(
    "path",
    [
        f"{FOLDER}/_SUCCESS",
        f"{FOLDER}/.orders.events+3+0000000120.parquet.ab12.tmp",
        f"{FOLDER}/orders.events+3+120.parquet",
        f"{FOLDER}/orders.events+3+00000000120.parquet",
        f"{FOLDER}/orders.events+4+0000000120.parquet",
        f"{FOLDER}/deeper/orders.events+3+0000000120.parquet",
        "topics/other/partition=3/orders.events+3+0000000120.parquet",
        f"{NAMED}.crc",
        f"{FOLDER}/orders.events+3+0000000120.avro",
    ],
)
def test_what_is_named_otherwise_is_no_file_of_the_archive(path: str) -> None:
    assert archive_layout.place_of(path) is None


@pytest.mark.parametrize(
    "one",
    [
        Segment(NAMED, ONE, 120, 140, 18, last=Last(138, 1_767_225_600_000)),
        Segment(NAMED, ONE, 120, 121, 1, last=Last(120, None)),
        Segment(NAMED, ONE, 120, 140, 0, lost=True),
    ],
)
def test_what_a_file_says_is_read_back(one: Segment) -> None:
    assert archive_layout.from_metadata(NAMED, said(one), one.records) == one


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({}, "no file of this archive's format"),
        (said(segment(120, 140), format="2"), "no file of this archive's format"),
        (said(segment(120, 140), next_offset="many"), "can't be read"),
        (said(segment(121, 140)), "was renamed"),
        (said(segment(120, 140), partition="4"), "was renamed"),
        (said(segment(120, 140), next_offset="120"), "was renamed"),
    ],
)
def test_a_file_that_says_something_else_is_not_taken(metadata: dict[bytes, bytes], why: str) -> None:
    with pytest.raises(Damaged, match=why):
        archive_layout.from_metadata(NAMED, metadata, 20)


@pytest.mark.parametrize(
    ("segments", "log", "expected"),
    [
        ([], Ends(0, 10), Ends(0, 10)),
        ([], Ends(7, 10), Ends(7, 10)),
        ([], Ends(7, 7), None),
        ([segment(0, 10)], Ends(0, 10), None),
        ([segment(0, 10)], Ends(0, 25), Ends(10, 25)),
        ([segment(5, 10), segment(10, 20)], Ends(0, 25), Ends(20, 25)),
        ([segment(0, 10), segment(15, 20)], Ends(0, 25), Ends(10, 15)),
        ([segment(0, 10), segment(15, 20), segment(22, 24)], Ends(0, 24), Ends(10, 15)),
        ([segment(0, 10)], Ends(17, 25), Ends(10, 25)),
        ([segment(0, 10), segment(10, 17, lost=True)], Ends(17, 25), Ends(17, 25)),
    ],
)
def test_the_first_hole_is_written_next(segments: list[Segment], log: Ends, expected: Ends | None) -> None:
    assert archive_layout.next_hole(segments, log) == expected


def test_what_is_there_twice_has_to_be_moved_by_a_person() -> None:
    overlapping = [segment(0, 12), segment(10, 20)]
    with pytest.raises(Damaged, match=r"offsets 10 to 11 are in the archive twice: move .*\+0000000010\.parquet away"):
        archive_layout.next_hole(overlapping, Ends(0, 20))
    with pytest.raises(Damaged, match="twice"):
        archive_layout.expect_whole(overlapping)


def test_what_is_missing_is_told_to_who_reads() -> None:
    archive_layout.expect_whole([])
    archive_layout.expect_whole([segment(5, 10), segment(10, 20), segment(20, 25, lost=True)])
    with pytest.raises(Damaged, match=r"lacks offsets 10 to 14, behind .*/partition=3/.*\+0000000000\.parquet"):
        archive_layout.expect_whole([segment(0, 10), segment(15, 20)])


def test_what_was_lost_is_told_apart_from_what_never_was() -> None:
    markers_alone = segment(20, 25)._replace(records=0)
    assert archive_layout.lost([segment(0, 10), segment(10, 20, lost=True), markers_alone]) == [Ends(10, 20)]


def test_a_log_that_ends_before_the_archive_does_is_another() -> None:
    assert archive_layout.other_log(0, Ends(0, 0)) is None
    assert archive_layout.other_log(10, Ends(0, 10)) is None
    assert "made anew" in (archive_layout.other_log(10, Ends(0, 9)) or "")


def test_without_its_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    archive_layout.needed()
    monkeypatch.setattr(archive_layout, "find_spec", lambda name: None)
    with pytest.raises(Refused, match=r"pip install 'order-projector\[archive\]'"):
        archive_layout.needed()
