"""Reading an archive: what it holds of each partition, and its records. Plain synchronous code.

Needs the extra `archive`. Which files there are is looked at once per topic: what `projector archive` adds meanwhile is
not seen. Object stores: make an Archive in the process that reads; pyarrow's clients do not survive a fork.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from aiokafka import TopicPartition

from consumer import archive_layout
from consumer.archive_layout import Segment
from runtime.kafka import Ends
from schemas.errors import Refused
from schemas.events import StoredRecord

if TYPE_CHECKING:  # pyarrow is optional
    from consumer.archive_place import Found


class Archive:
    """An archive by its URL, such as `s3://bucket/prefix`, or a folder's path. Raises Refused if that is no place, or
    pyarrow isn't installed; each call raises Refused if a person has to put the archive right, and Unavailable."""

    def __init__(self, url: str, *, allow_plaintext: bool = False) -> None:
        archive_layout.needed()
        from consumer.archive_place import Place  # noqa: PLC0415  an optional dependency

        self._place = Place.at(url, allow_plaintext=allow_plaintext)
        self._listed: dict[tuple[str, int | None], list[Found]] = {}
        self._known: dict[Found, Segment] = {}

    def spans(self, topics: Collection[str]) -> dict[TopicPartition, Ends]:
        """What it holds of these topics' partitions: the first offset, and the one after the last. Partitions of which
        it has nothing are left out. Reads the end of every file. Raises Refused if files overlap, or leave a gap that
        nobody accepted."""
        whole = self._whole(topics)
        return {one: Ends(segments[0].first, segments[-1].end) for one, segments in whole.items()}

    def gaps(self, topics: Collection[str]) -> dict[TopicPartition, list[Ends]]:
        """What was lost, and accepted so, within those spans."""
        found = {one: archive_layout.lost(segments) for one, segments in self._whole(topics).items()}
        return {one: gaps for one, gaps in found.items() if gaps}

    def records(self, one: TopicPartition, first: int, end: int, most: int) -> Iterator[list[StoredRecord]]:
        """A partition's records from `first` up to `end`, which is left out, in offset order, at most `most` in a list.
        Holds a row group (32 MiB, or one record) and a list, and looks at no other files than it needs. Raises Refused
        if the archive doesn't reach that far."""
        if first >= end:
            return iter(())
        files = self._files(one.topic, one.partition)
        start = max(bisect_right(files, first, key=lambda file: file.first) - 1, 0)
        segments = self._segments([file for file in files[start:] if file.first < end])
        archive_layout.expect_whole(segments)
        if not (segments and segments[0].first <= first and end <= segments[-1].end):
            raise Refused(f"{self._place.url} does not hold {one.topic}/{one.partition}, offsets {first} to {end - 1}")
        return self._records(segments, first, end, most)

    def _records(self, segments: list[Segment], first: int, end: int, most: int) -> Iterator[list[StoredRecord]]:
        from consumer import archive_parquet  # noqa: PLC0415  an optional dependency

        for segment in segments:
            if segment.records:
                with self._place.opened(segment.path) as source:
                    yield from archive_parquet.read(segment, source, first, end, most)

    def _whole(self, topics: Collection[str]) -> dict[TopicPartition, list[Segment]]:
        found = {}
        for topic in topics:
            for one, segments in groupby(self._segments(self._files(topic)), key=lambda segment: segment.of):
                found[one] = list(segments)
                archive_layout.expect_whole(found[one])
        return found

    def _files(self, topic: str, partition: int | None = None) -> list[Found]:
        """Listed once; a partition's are a part of its topic's, if those are known."""
        if (topic, None) in self._listed and partition is not None:
            return [file for file in self._listed[topic, None] if file.of.partition == partition]
        if (topic, partition) not in self._listed:
            self._listed[topic, partition] = self._place.files(topic, partition)
        return self._listed[topic, partition]

    def _segments(self, files: list[Found]) -> list[Segment]:
        """What they say of themselves, read once."""
        new = [file for file in files if file not in self._known]
        self._known |= dict(zip(new, self._place.segments(new), strict=True))
        return [self._known[file] for file in files]
