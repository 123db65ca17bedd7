"""Reading an archive: what it holds of each partition, and its records. Plain synchronous code.

Needs the extra `archive`. Which files there are is looked at once per topic: what `projector archive` adds meanwhile is
not seen. Object stores: make an Archive in the process that reads; pyarrow's clients do not survive a fork.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator
from itertools import groupby

from aiokafka import TopicPartition

from consumer import archive_layout
from consumer.archive_layout import Segment
from consumer.pending import StoredRecord
from runtime.kafka import Ends
from schemas.errors import Refused


class Archive:
    """An archive by its URL, such as `s3://bucket/prefix`, or a folder's path. Raises Refused if that is no place, or
    pyarrow isn't installed; each call raises Refused if a person has to put the archive right, and Unavailable."""

    def __init__(self, url: str, *, allow_plaintext: bool = False) -> None:
        archive_layout.needed()
        from consumer.archive_place import Place  # noqa: PLC0415  an optional dependency

        self._place = Place.at(url, allow_plaintext=allow_plaintext)
        self._topics: dict[str, dict[TopicPartition, list[Segment]]] = {}

    def spans(self, topics: Collection[str]) -> dict[TopicPartition, Ends]:
        """What it holds of these topics' partitions: the first offset, and the one after the last. Partitions of which
        it has nothing are left out. Reads the end of every file. Raises Refused if files overlap, or leave a gap that
        nobody accepted."""
        return {
            one: Ends(segments[0].first, segments[-1].end)
            for topic in topics
            for one, segments in self._segments(topic).items()
        }

    def gaps(self, topics: Collection[str]) -> dict[TopicPartition, list[Ends]]:
        """What was lost, and accepted so, within those spans."""
        found = {
            one: archive_layout.lost(segments) for topic in topics for one, segments in self._segments(topic).items()
        }
        return {one: gaps for one, gaps in found.items() if gaps}

    def records(self, one: TopicPartition, first: int, end: int, most: int) -> Iterator[list[StoredRecord]]:
        """A partition's records from `first` up to `end`, which is left out, in offset order, at most `most` in a list.
        Holds a row group (32 MiB, or one record) and a list. Raises Refused if the archive doesn't reach that far."""
        segments = self._segments(one.topic).get(one, [])
        if first < end and not (segments and segments[0].first <= first and end <= segments[-1].end):
            raise Refused(f"{self._place.url} does not hold {one.topic}/{one.partition}, offsets {first} to {end - 1}")
        return self._records(segments, first, end, most)

    def _records(self, segments: list[Segment], first: int, end: int, most: int) -> Iterator[list[StoredRecord]]:
        from consumer import archive_parquet  # noqa: PLC0415  an optional dependency

        start = max(bisect_right(segments, first, key=lambda segment: segment.first) - 1, 0)
        for segment in segments[start:]:
            if segment.first >= end:
                return
            if segment.records:
                with self._place.opened(segment.path) as source:
                    yield from archive_parquet.read(segment, source, first, end, most)

    def _segments(self, topic: str) -> dict[TopicPartition, list[Segment]]:
        if topic not in self._topics:
            segments = self._place.segments(self._place.files(topic))
            found = {one: list(some) for one, some in groupby(segments, key=lambda segment: segment.of)}
            for some in found.values():
                archive_layout.expect_whole(some)
            self._topics[topic] = found
        return self._topics[topic]
