"""From Kafka's log into an archive: goes on where the archive's files end, up to where the log ended at the start.

The archive itself is the only memory of what is done. It is looked at before each file, never remembered, so a program
that was killed, or another that runs at the same time, leaves nothing to be put right: a file's name is its start
offset, which one of them gets, and the other goes on behind it. Imports pyarrow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from consumer import archive_layout, log_slice
from consumer.archive_layout import Segment
from consumer.archive_parquet import Limits, SegmentWriter
from consumer.archive_place import Found, Place
from runtime.failpoints import Failpoints
from runtime.kafka import Ends, translated

T = TypeVar("T")

_log = structlog.get_logger("projector.archive")

_AT_ONCE = 5_000  # records on their way from Kafka into a file
_TAIL = 2  # files of earlier runs whose ends are read each time


@dataclass
class Progress:
    """What became of a partition. `next`: where the archive ends now; None: it has nothing of it."""

    topic: str
    partition: int
    first: int | None = None  # of what was written
    next: int | None = None
    files: int = 0
    records: int = 0
    bytes: int = 0
    left: int = 0  # records that were too few for a file
    accepted: list[Ends] = field(default_factory=list)  # gaps, by this run
    lost: Ends | None = None  # a gap that wasn't
    problem: str | None = None  # why nothing more was written


class Archiver:
    """Copies partitions, one after the other.

    `least`: a tail with fewer records is left for the next time. `check`: look at the ends of all files and fill holes
    that the log still holds, not only behind the last files.
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        place: Place,
        limits: Limits,
        *,
        least: int = 1,
        accept_gap: bool = False,
        check: bool = False,
        failpoints: Failpoints | None = None,
    ) -> None:
        self._consumer = consumer
        self._place = place
        self._limits = limits
        self._least = least
        self._accept_gap = accept_gap
        self._check = check
        self._failpoints = failpoints or Failpoints()

    async def copy(self, one: TopicPartition, log: Ends) -> Progress:
        """Bring the archive's part of a partition up to the log's end. Raises Refused and Unavailable."""
        done = Progress(*one)
        try:
            await self._copy(one, log, done)
        except archive_layout.Damaged as damaged:  # the other partitions can go on
            done.problem = str(damaged)
        return done

    async def _copy(self, one: TopicPartition, log: Ends, done: Progress) -> None:
        shelf = _Shelf(self._place, one, None if self._check else _TAIL)
        segments = await _in_thread(shelf.look)
        done.next = segments[-1].end if segments else None
        done.problem = archive_layout.other_log(done.next or 0, log) or await self._other_record(one, segments, log)
        tried = None
        while not done.problem:
            log = await self._first_now(one, log)
            hole = archive_layout.next_hole(segments, log)
            if hole is None:
                break
            if hole == tried:
                raise archive_layout.Damaged(
                    f"{archive_layout.file_name(one, hole.first)}: something else has this name"
                )
            tried = hole
            if not await self._fill(done, hole, log):
                break
            segments = await _in_thread(shelf.look)
            done.next = segments[-1].end if segments else None

    async def _first_now(self, one: TopicPartition, log: Ends) -> Ends:
        """The same log with where it begins by now: retention goes on while a large archive is made."""
        with translated():
            return Ends((await self._consumer.beginning_offsets([one]))[one], log.end)

    async def _fill(self, done: Progress, hole: Ends, log: Ends) -> bool:
        """Write a file that starts where the hole does. False: there is none to be written."""
        if hole.first >= log.first:
            return await self._write(done, hole, tail=hole.end == log.end)
        lost = Ends(hole.first, min(hole.end, log.first))
        if self._accept_gap:
            await self._mark_lost(done, lost)
            return True
        done.lost = lost
        done.problem = (
            f"offsets {lost.first} to {lost.end - 1} are lost: Kafka has deleted them, and the archive does not have "
            "them; --accept-gap goes on without"
        )
        return False

    async def _other_record(self, one: TopicPartition, segments: Sequence[Segment], log: Ends) -> str | None:
        """Why these segments can't be of this log, as its record at the offset of their last one says."""
        last = next((segment.last for segment in reversed(segments) if segment.last), None)
        if last is None or not log.first <= last.offset < log.end or segments[-1].end == log.end:
            return None
        span = {one: Ends(last.offset, last.offset + 1)}
        async for [record] in log_slice.records(self._consumer, span, 1):  # none: compaction took it
            if record.timestamp != last.timestamp:
                return (
                    f"the record at offset {last.offset} is another than the archive's: the topic was made anew, or "
                    "this is another cluster; archive it to another place"
                )
        return None

    async def _write(self, done: Progress, hole: Ends, *, tail: bool) -> bool:
        """Write a file that starts where the hole does. False: too few records for one."""
        one = TopicPartition(done.topic, done.partition)
        with (
            self._place.staged(one, hole.first) as staged,
            closing(SegmentWriter(staged.file, one, hole.first, self._limits)) as writer,
        ):
            end = await self._records(writer, one, hole)
            if tail and end == hole.end and 0 < writer.records < self._least:
                done.left = writer.records
                return False
            await _in_thread(writer.finish, end)
            await self._failpoints.reach("archive_file_written")
            published = await _in_thread(staged.publish)
            await self._failpoints.reach("archive_file_published")
            self._count(done, writer, Ends(hole.first, end), staged.file.tell() if published else None)
        return True

    async def _records(self, writer: SegmentWriter, one: TopicPartition, hole: Ends) -> int:
        """Write records until the file is full or the hole is; where the next file starts."""
        async for batch in log_slice.records(self._consumer, {one: hole}, _AT_ONCE):
            count = await _in_thread(writer.add, batch)
            await self._failpoints.reach("archive_records_written")
            if count < len(batch):
                return int(batch[count].offset)
        return hole.end

    async def _mark_lost(self, done: Progress, lost: Ends) -> None:
        """Write a file without records in the place of those that are gone."""
        one = TopicPartition(done.topic, done.partition)
        with (
            self._place.staged(one, lost.first) as staged,
            closing(SegmentWriter(staged.file, one, lost.first, self._limits)) as writer,
        ):
            writer.finish(lost.end, lost=True)
            if await _in_thread(staged.publish):
                done.accepted.append(lost)
                _log.warning("archive_gap_accepted", topic=one.topic, partition=one.partition, lost=tuple(lost))

    def _count(self, done: Progress, writer: SegmentWriter, span: Ends, size: int | None) -> None:
        if size is None:  # another program has written this file meanwhile
            _log.info("archive_file_taken", topic=done.topic, partition=done.partition, first=span.first)
            return
        done.first = span.first if done.first is None else done.first
        done.files += 1
        done.records += writer.records
        done.bytes += size
        _log.info(
            "archive_file_added",
            topic=done.topic,
            partition=done.partition,
            first=span.first,
            next=span.end,
            records=writer.records,
            bytes=size,
        )


async def _in_thread(function: Callable[..., T], *arguments: object) -> T:
    """Like asyncio.to_thread, but a caller that is cancelled waits for the thread: it may be inside a file."""
    task = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(task)
    finally:
        if not task.done():
            await asyncio.wait([task])


class _Shelf:
    """A partition's files and what they say of themselves; read once, unless one is replaced. Of those that were there
    at the first look, only the last `tail`, unless that is None."""

    def __init__(self, place: Place, one: TopicPartition, tail: int | None) -> None:
        self._place = place
        self._one = one
        self._tail = tail
        self._from: int | None = None
        self._known: dict[Found, Segment] = {}

    def look(self) -> list[Segment]:
        files = self._place.files(*self._one)
        if self._from is None:
            seen = files if self._tail is None else files[-self._tail :]
            self._from = seen[0].first if seen else 0
        files = [file for file in files if file.first >= self._from]
        new = [file for file in files if file not in self._known]
        self._known |= dict(zip(new, self._place.segments(new), strict=True))
        return [self._known[file] for file in files]
