"""Where an archive's files are: on disk, or in a store of objects. Whole or not at all, and never replaced."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from pyarrow import fs

from consumer.archive import Archive
from consumer.archive_layout import Damaged, file_name, folder
from consumer.archive_place import Place
from runtime.kafka import Ends
from schemas.errors import Refused, Unavailable
from tests.support.archives import file_of, held, kafka_record, named

ONE = TopicPartition("orders.events", 3)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "archive")


def objects() -> Place:
    """An object store in memory."""
    return Place("mock://archive", fs._MockFileSystem(), "bucket/prefix")


def on_disk(path: Path) -> Place:
    return Place.at(str(path))


@pytest.fixture(params=[on_disk, lambda path: objects()], ids=["disk", "objects"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    made: Place = request.param(tmp_path / "archive")
    return made


def put(place: Place, first: int, end: int, *, one: TopicPartition = ONE, **more: Any) -> bool:
    """A file of one record an offset, unless there is one of its name."""
    records = [] if more.get("lost") else [kafka_record(offset, one=one) for offset in range(first, end)]
    with place.staged(one, first) as staged:
        staged.file.write(file_of(records, first, end, one=one, **more))
        return staged.publish()


def spans(place: Place) -> list[Ends]:
    return [Ends(one.first, one.end) for one in place.segments(place.files(ONE.topic))]


def test_a_file_is_there_once_it_is_published_and_not_before(place: Place) -> None:
    with place.staged(ONE, 0) as staged:
        staged.file.write(file_of([kafka_record(0)], 0, 1))
        assert place.files(ONE.topic) == []
        assert staged.publish()
        assert spans(place) == [Ends(0, 1)]
    assert spans(place) == [Ends(0, 1)]


def test_a_file_that_is_given_up_leaves_nothing(place: Place, url: str) -> None:
    def fail() -> None:
        with place.staged(ONE, 0) as staged:
            staged.file.write(b"half")
            raise RuntimeError("gone")

    with pytest.raises(RuntimeError):
        fail()
    assert place.files(ONE.topic) == []
    assert named(url) == []


def test_no_file_replaces_another(place: Place) -> None:
    assert put(place, 0, 5)
    assert not put(place, 0, 9)
    assert spans(place) == [Ends(0, 5)]


def test_files_are_found_in_their_order_and_by_their_partition(place: Place) -> None:
    other = TopicPartition(ONE.topic, 10)
    for first, one in ((10, ONE), (0, ONE), (20_000_000_000, ONE), (5, other)):
        put(place, first, first + 1, one=one)
    put(place, 0, 1, one=TopicPartition("orders", 3))
    assert [(file.of.partition, file.first) for file in place.files(ONE.topic)] == [
        *((3, first) for first in (0, 10, 20_000_000_000)),
        (10, 5),
    ]
    assert [file.first for file in place.files(*other)] == [5]
    assert place.files("none") == []


def test_a_disk_without_hard_links_does_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert put(place, 0, 5)
    assert not put(place, 0, 9)
    assert spans(place) == [Ends(0, 5)]


def test_what_a_killed_program_left_goes_after_an_hour(url: str) -> None:
    lies = Path(url) / folder(*ONE)
    lies.mkdir(parents=True)
    old, young = lies / ".a.parquet.1.tmp", lies / ".b.parquet.2.tmp"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, times=(time.time() - 3_700,) * 2)
    put(Place.at(url), 0, 5)
    assert named(url) == [young.name, file_name(ONE, 0)]


def test_a_full_disk_says_so_and_leaves_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(Refused, match="No space left"):
        put(Place.at(url), 0, 5)
    assert named(url) == []


def test_a_folder_that_may_not_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(Refused, match="Not a directory"):
        put(Place.at(str(tmp_path / "file")), 0, 5)


class Failing:
    """A store that does what it is told to before a file is sent, and otherwise what another does."""

    def __init__(self, system: Any, happening: Callable[[], None]) -> None:
        self._system = system
        self._happening = happening

    def __getattr__(self, name: str) -> Any:
        return getattr(self._system, name)

    def open_output_stream(self, path: str) -> Any:
        self._happening()
        return self._system.open_output_stream(path)


def test_a_store_that_is_away_is_unavailable_and_has_nothing() -> None:
    def fail() -> None:
        raise OSError("AWS Error NETWORK_CONNECTION during PutObject operation")

    system = fs._MockFileSystem()
    with pytest.raises(Unavailable, match="NETWORK_CONNECTION"):
        put(Place("s3://bucket/prefix", Failing(system, fail), "bucket/prefix"), 0, 5)
    assert Place("s3://bucket/prefix", system, "bucket/prefix").files(ONE.topic) == []


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("ftp://host/x", "Unrecognized filesystem"),
        ("s3://", "has to be like"),
        ("s3://key:secret@bucket/x", "no credentials"),
        ("s3://key@bucket/x", "no credentials"),
        ("s3://bucket/x?nope=1", "nope"),
        ("s3://bucket/x?scheme=http&endpoint_override=minio.example:9000&region=x", "unencrypted to 'minio.example'"),
        ("file://host/x", "hostname"),
    ],
)
def test_what_is_no_place_is_refused_before_anything_is_done(bad: str, why: str) -> None:
    with pytest.raises(Refused, match=why) as refused:
        Place.at(bad)
    assert "secret" not in str(refused.value)


def test_a_file_url_is_a_folder(tmp_path: Path) -> None:
    put(Place.at((tmp_path / "with space").as_uri()), 0, 5)
    assert Archive(str(tmp_path / "with space")).spans([ONE.topic]) == {ONE: Ends(0, 5)}


def test_reading_gives_the_offsets_asked_for_across_files(url: str) -> None:
    place = Place.at(url)
    for first in (0, 10, 20):
        put(place, first, first + 10)
    archive = Archive(url)
    for first, end in ((0, 30), (5, 25), (10, 20), (19, 21), (29, 30), (7, 7)):
        found = [[record.offset for record in some] for some in archive.records(ONE, first, end, 4)]
        assert [offset for some in found for offset in some] == list(range(first, end))
        assert all(len(some) <= 4 for some in found)
    for first, end in ((0, 31), (30, 31)):
        with pytest.raises(Refused, match=r"does not hold orders\.events/3"):
            archive.records(ONE, first, end, 4)


def test_reading_looks_at_no_other_files_than_it_needs(url: str) -> None:
    """A rebuild asks for many small parts of a large archive, each in a process of its own."""
    place = Place.at(url)
    for first in (0, 10, 20, 30):
        put(place, first, first + 10)
    for first in (0, 30):
        (Path(url) / folder(*ONE) / file_name(ONE, first)).write_bytes(b"torn")
    assert sum(map(len, Archive(url).records(ONE, 10, 30, 100))) == 20
    (Path(url) / folder(*ONE) / file_name(ONE, 20)).unlink()
    with pytest.raises(Refused, match="does not hold"):
        Archive(url).records(ONE, 10, 25, 100)
    (Path(url) / folder(*ONE) / file_name(ONE, 30)).unlink()
    put(place, 24, 30)
    with pytest.raises(Damaged, match="lacks offsets 20 to 23"):
        Archive(url).records(ONE, 10, 30, 100)


def test_an_archive_that_is_read_stays_as_it_was_found(url: str) -> None:
    put(Place.at(url), 0, 5)
    archive = Archive(url)
    assert archive.spans([ONE.topic]) == {ONE: Ends(0, 5)}
    put(Place.at(url), 5, 9)
    assert archive.spans([ONE.topic]) == {ONE: Ends(0, 5)}
    assert Archive(url).spans([ONE.topic]) == {ONE: Ends(0, 9)}
    assert Archive(url).spans(["none"]) == {}


@pytest.mark.parametrize(
    ("files", "why"), [([(0, 5), (7, 9)], "lacks offsets 5 to 6"), ([(0, 5), (3, 9)], "offsets 3 to 4 are .* twice")]
)
def test_files_that_do_not_follow_on_are_told(url: str, files: list[tuple[int, int]], why: str) -> None:
    for first, end in files:
        put(Place.at(url), first, end)
    with pytest.raises(Damaged, match=why):
        Archive(url).spans([ONE.topic])


def test_a_gap_that_was_accepted_is_told_apart(url: str) -> None:
    for first, end, lost in ((0, 5, False), (5, 7, True), (7, 9, False)):
        put(Place.at(url), first, end, lost=lost)
    archive = Archive(url)
    assert archive.spans([ONE.topic]) == {ONE: Ends(0, 9)}
    assert archive.gaps([ONE.topic]) == {ONE: [Ends(5, 7)]}
    assert len(held(url, ONE.topic)[ONE]) == 7


def test_a_file_that_is_torn_or_renamed_is_told(url: str) -> None:
    put(Place.at(url), 0, 5)
    lies = Path(url) / folder(*ONE)
    (lies / file_name(ONE, 0)).rename(lies / file_name(ONE, 5))
    with pytest.raises(Damaged, match="was renamed"):
        Archive(url).spans([ONE.topic])
    (lies / file_name(ONE, 5)).write_bytes(b"half")
    with pytest.raises(Damaged, match="can't be read"):
        Archive(url).spans([ONE.topic])


def test_bytes_that_rotted_are_told(url: str) -> None:
    place = Place.at(url)
    with place.staged(ONE, 0) as staged:
        staged.file.write(file_of([kafka_record(0, value=bytes(range(256)) * 40)], 0, 1))
        staged.publish()
    path = Path(url) / folder(*ONE) / file_name(ONE, 0)
    data = bytearray(path.read_bytes())
    middle = data.index(bytes(range(200, 256)))
    data[middle] ^= 1
    path.write_bytes(data)
    with pytest.raises(Refused, match=r"0000000000\.parquet"):
        held(url, ONE.topic)
