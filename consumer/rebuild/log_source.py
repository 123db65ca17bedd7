"""A rebuild from Kafka's log, or from an archive and what the log holds beyond it.

Read up to the checkpoints, in two passes: chunks of the log are set aside by ranges of orders, on this machine's disk;
then each range is judged and folded as live work does it, and its rows are copied.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from consumer import journal, log_slice
from consumer.archive import Archive
from consumer.read_models.kinds import Stored
from consumer.rebuild import parts
from consumer.rebuild.log_jobs import Chunk, RangeJob, ReadJob
from consumer.rebuild.parts import Part
from consumer.rebuild.plan import Plan, Source
from consumer.rebuild.shadow import SHADOW, SQL
from runtime.kafka import Ends, log_ends, observer, partitions_of
from runtime.settings import Settings
from runtime.sql import quoted
from schemas.connection import Connection
from schemas.errors import Refused
from schemas.wire_batch import decode_all

CHUNK = 200_000  # offsets that a process reads at a time

# Where no ledger says how ids lie: places in time that are looked at, by how many ranges there will be, and records at
# each. Ids of orders that were placed together often lie together, so few places make few ranges. A look at all
# partitions takes some 0.1 s, so each look is at another place in each; a few of them, as one partition may have most.
_PLACES = (16, 128)
_LOOKS = 4
_SAMPLES = 64
_GLANCE = 16 * 1024  # bytes fetched of each partition at such a place, or a batch
_PREFIX = "projector-rebuild-"


@dataclass
class FromLog:
    """The log as a source. `size`: events in a range, about; `chunk`: offsets that a process reads at a time."""

    settings: Settings
    archive: str | None = None
    processes: int = 1
    size: int = journal.RANGE
    chunk: int = CHUNK
    until: datetime | None = None
    _directory: Path | None = field(default=None, init=False)

    @property
    def source(self) -> Source:
        return "log" if self.archive is None else "archive"

    async def preflight(self, connection: Connection) -> None:
        async with observer(self.settings) as consumer:
            await self._spans(connection, consumer)

    async def bounds(self, connection: Connection) -> list[str]:
        found = await journal.bounds(connection, self.size)
        if found:
            return found
        async with observer(self.settings, _GLANCE) as consumer:
            logs = await log_ends(consumer, await partitions_of(consumer, self.settings.topics))
            return await self._sampled(consumer, logs)

    async def read(self, connection: Connection, left: Sequence[Part], tell: Callable[[int, int], None]) -> None:
        async with observer(self.settings) as consumer:
            spans = await self._spans(connection, consumer)
        chunks = [
            Chunk(one, first, min(first + self.chunk, span.end), archived)
            for one, archived, span in spans
            for first in range(span.first, span.end, self.chunk)
        ]
        letters: dict[TopicPartition, dict[int, str]] = {}
        for row in await connection.fetch(SQL["letters_known"], list(self.settings.topics)):
            letters.setdefault(TopicPartition(row["topic"], row["partition"]), {})[row["offset"]] = row["digest"]
        rows = await connection.fetch(SQL["parts_read"].format(schema=quoted(SHADOW)))
        _sweep()
        self._directory = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        job = ReadJob(
            self.settings,
            self._directory,
            tuple(row["first"] for row in rows if row["first"]),
            frozenset(part.number for part in left),
            chunks,
            letters,
            self.archive,
        )
        total, events = sum(chunk.end - chunk.first for chunk in chunks), 0
        numbered = [Part(number, "", None) for number in range(len(chunks))]
        async for _, some in parts.build(job, numbered, self.processes):
            events += some
            tell(events, total)

    def job(self, plan: Plan, models: Sequence[Stored]) -> RangeJob:
        assert self._directory is not None
        return RangeJob(self.settings, tuple(models), self._directory, plan.ledger, self.until)

    def close(self) -> None:
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    async def _spans(
        self, connection: Connection, consumer: AIOKafkaConsumer
    ) -> list[tuple[TopicPartition, bool, Ends]]:
        """What is to be read: of the archive (True) and of Kafka, partition by partition, up to the checkpoints.

        Raises Refused unless that is all that ever was applied.
        """
        logs = await log_ends(consumer, await partitions_of(consumer, self.settings.topics))
        rows = await connection.fetch(SQL["checkpoints_all"], list(self.settings.topics))
        stands = {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        archived = self._archived()
        anything = await connection.fetchval(SQL["orders_any"])
        if gone := [_named(one) for one in stands if one not in logs]:
            raise Refused(f"Kafka has no {', '.join(gone)}, which has a checkpoint: `--source journal` needs no log")
        spans = []
        for one, log in sorted(logs.items()):
            # Without a checkpoint nothing of it was applied, and nothing is to be. But a database that has nothing at
            # all gets everything.
            end = stands.get(one, 0 if anything else log.end)
            held = archived.get(one, Ends(0, 0))
            if end > max(log.end, held.end):
                raise Refused(f"{_named(one)}: the checkpoint stands at {end}, but the log ends at {log.end}")
            middle = min(held.end, end) if one in archived else 0
            if held.first > 0 or (log.first > middle and end > middle):
                raise Refused(self._lacks(one, log, held if one in archived else None))
            spans += [(one, True, Ends(0, middle)), (one, False, Ends(middle, end))]
        return [span for span in spans if span[2].first < span[2].end]

    def _archived(self) -> Mapping[TopicPartition, Ends]:
        if self.archive is None:
            return {}
        archive = Archive(self.archive, allow_plaintext=self.settings.allow_plaintext)
        if gaps := archive.gaps(self.settings.topics):
            raise Refused(
                f"the archive lacks records of {', '.join(map(_named, gaps))}: `--source journal` may have all"
            )
        return archive.spans(self.settings.topics)

    def _lacks(self, one: TopicPartition, log: Ends, held: Ends | None) -> str:
        has = f"Kafka's log of {_named(one)} begins at {log.first}"
        if self.archive is None:
            return f"{has}: retention took what was before. `--source journal` or `--source archive` may have it"
        where = f"holds offsets {held.first} to {held.end - 1}" if held else "holds nothing of it"
        return f"{has}, and the archive {where}: between them they lack some. `--source journal` may have it"

    async def _sampled(self, consumer: AIOKafkaConsumer, logs: Mapping[TopicPartition, Ends]) -> list[str]:
        ids: list[str] = []
        least, most = _PLACES
        ranges = sum(log.end - log.first for log in logs.values()) // self.size
        looks = max(-(-min(max(2 * ranges, least), most) // max(len(logs), 1)), _LOOKS)
        places = looks * len(logs)
        for look in range(looks):
            spans = {}
            for number, (one, log) in enumerate(sorted(logs.items())):
                start = log.first + (log.end - log.first) * (look * len(logs) + number) // places
                spans[one] = Ends(start, min(start + _SAMPLES, log.end))
            async for records in log_slice.records(consumer, spans, _SAMPLES):
                ids += [item.order_id for item in decode_all(records) if item.order_id is not None]
        ids.sort()
        wanted = min(ranges, len(ids))
        return sorted({ids[len(ids) * part // wanted] for part in range(1, wanted)} - {""})


def _named(one: TopicPartition) -> str:
    return f"{one.topic}/{one.partition}"


def _sweep() -> None:
    """Remove what runs have left whose process was killed."""
    for directory in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = directory.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists() and directory.stat().st_uid == os.getuid():
            shutil.rmtree(directory, ignore_errors=True)
