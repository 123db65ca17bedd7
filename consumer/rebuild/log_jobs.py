"""The two jobs of a rebuild from the log: set a chunk's events aside by range of orders, then fold a range.

What live work has in dead letters is left out: a rebuild decides nothing anew that live work has decided. Records of
one partition keep their order; of orders that came through several partitions, the earlier record goes first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from hashlib import md5
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import TopicPartition

from consumer import log_slice
from consumer.archive import Archive
from consumer.ledger import SourceNumbers
from consumer.order import OrderState, evolve
from consumer.read_models.kinds import Stored
from consumer.rebuild import bulk, shadow
from consumer.rebuild.parts import Part
from consumer.spill import Ranges, Spill, pieces
from consumer.verdicts import Change, judge
from runtime.kafka import Ends, observer
from runtime.settings import Settings
from schemas.events import Event, Record, Tombstone
from schemas.wire import decode

_AT_ONCE = 2_000  # records
_PIECE = 50_000  # events that are judged at once; an order with more of them is not cut

Letters = Mapping[TopicPartition, Mapping[int, str]]  # offsets that have a letter, with the MD5 of their value


class Origin(NamedTuple):
    """Where a record stood: all that is kept of it beside its event."""

    topic: str
    partition: int
    offset: int
    timestamp: int


class Chunk(NamedTuple):
    """Offsets `first` to before `end` of a partition, in the archive or in Kafka."""

    of: TopicPartition
    first: int
    end: int
    archived: bool


@dataclass(frozen=True)
class ReadJob:
    """Sets the events of chunks aside; a part's number is a chunk's."""

    settings: Settings
    directory: Path
    bounds: tuple[str, ...]
    wanted: frozenset[int]  # ranges that are still to be folded
    chunks: Sequence[Chunk]
    letters: Letters
    archive: str | None

    async def build(self, part: Part) -> int:
        chunk = self.chunks[part.number]
        letters = self.letters.get(chunk.of, {})
        ranges, spill, events = Ranges(self.bounds), Spill(self.directory, part.number), 0
        async for records in self._records(chunk):
            for record in records:
                events += 1
                if record.offset in letters and letters[record.offset] == _digest(record.value):
                    continue
                item = decode(record)
                if isinstance(item, Event | Tombstone) and (place := ranges.of(item.order_id)) in self.wanted:
                    origin = Origin(record.topic, record.partition, record.offset, record.timestamp)
                    spill.add(place, item._replace(record=origin))  # type: ignore[arg-type]  # all that is asked of it
        spill.flush()
        return events

    async def _records(self, chunk: Chunk) -> AsyncIterator[Sequence[Record]]:
        if chunk.archived:
            assert self.archive is not None
            archive = Archive(self.archive, allow_plaintext=self.settings.allow_plaintext)
            for some in archive.records(chunk.of, chunk.first, chunk.end, _AT_ONCE):
                yield some
            return
        async with observer(self.settings) as consumer:
            async for batch in log_slice.records(consumer, {chunk.of: Ends(chunk.first, chunk.end)}, _AT_ONCE):
                yield batch


@dataclass(frozen=True)
class RangeJob:
    """Folds the events that were set aside for a range of orders, over a connection of its own."""

    settings: Settings
    models: tuple[Stored, ...]
    directory: Path
    ledger: bool
    until: datetime | None

    async def build(self, part: Part) -> int:
        spill, numbers, events = Spill(self.directory), SourceNumbers(), 0
        span = (part.first, part.end)
        async with shadow.session(self.settings) as connection:
            gone = await bulk.erased(connection, part.first, part.end)
            sources, total = set(), 0
            for total, item in enumerate(spill.read(part.number), 1):  # noqa: B007  the last one is how many there are
                if isinstance(item, Event):
                    sources.add(item.source)
            if self.ledger:  # in transactions of its own: a number that is rolled back would be wrong for ever
                await numbers.learn(connection, sources)
            async with connection.transaction():
                for _, items in pieces(spill, part.number, span, _order_of, _PIECE, total):
                    rows = bulk.Rows(self.models)
                    events += len(items)
                    verdicts = judge(in_turn(item for item in items if item.order_id not in gone), {}, {}, ())
                    for change in verdicts.changes.values():
                        if self.until is not None and not change.after.erased:
                            _cut(change, self.until)
                        if change.after.version or change.after.erased:
                            rows.add(change.after)
                            if self.ledger:
                                rows.enter(change.applied, numbers)
                    await rows.copy(connection)
                rows = bulk.Rows(self.models)
                for order_id, version in gone.items():
                    rows.add(OrderState(order_id, version=version, erased=True))
                await rows.copy(connection)
                await bulk.done(connection, part.number, events)
        spill.forget(part.number)
        return events


def _cut(change: Change, until: datetime) -> None:
    """Without what happened later, and what follows on it."""
    kept = list(takewhile(lambda event: event.time <= until, change.applied))
    if len(kept) < len(change.applied):
        change.applied, change.after = kept, reduce(evolve, kept, change.before)


def in_turn(items: Iterable[Event | Tombstone]) -> list[Event | Tombstone]:
    """Records in the order in which they came: as they are, but for orders that came through several partitions."""
    found: dict[str, dict[tuple[str, int], list[Event | Tombstone]]] = {}
    for item in items:
        origin = item.record
        found.setdefault(item.order_id, {}).setdefault((origin.topic, origin.partition), []).append(item)
    result: list[Event | Tombstone] = []
    for lanes in found.values():
        if len(lanes) == 1:
            result += next(iter(lanes.values()))
        else:
            result += _merged([lanes[lane] for lane in sorted(lanes)])
    return result


def _merged(lanes: Sequence[Sequence[Event | Tombstone]]) -> list[Event | Tombstone]:
    """Lane by lane in its own order, always the head with the earliest timestamp next."""
    heads = [0] * len(lanes)
    result: list[Event | Tombstone] = []
    while True:
        open_lanes = [number for number, lane in enumerate(lanes) if heads[number] < len(lane)]
        if not open_lanes:
            return result
        first = min(open_lanes, key=lambda number: lanes[number][heads[number]].record.timestamp)
        result.append(lanes[first][heads[first]])
        heads[first] += 1


def _order_of(item: Any) -> str:
    order_id: str = item.order_id
    return order_id


def _digest(value: bytes | None) -> str:
    return md5(value or b"", usedforsecurity=False).hexdigest()
