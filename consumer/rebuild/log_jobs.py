"""The two jobs of a rebuild from the log: set a chunk's events aside by range of orders, then fold a range.

What live work has in dead letters is left out: a rebuild decides nothing anew that live work has decided. Records of
one partition keep their order; of orders that came through several partitions, the earlier record goes first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
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
from consumer.read_models.kinds import Stored
from consumer.rebuild import bulk, shadow
from consumer.rebuild.parts import Part
from consumer.spill import Ranges, Spill, pieces
from consumer.verdicts import Change, judge
from runtime.kafka import Ends, observer
from runtime.settings import Settings
from schemas.events import Event, Record, Tombstone
from schemas.order import OrderState, evolve
from schemas.wire import SLIM_WIDTH, decode, order_of_slim
from schemas.wire_batch import decode_all_slim, orders_of_slims, slim_all

_AT_ONCE = 2_000  # records
_LARGE = 24 * 1024 * 1024  # bytes of a range on disk: some 60,000 events, which take ten times as much in memory
_PIECE = 25_000  # events that are judged at once; an order with more of them is not cut

Letters = Mapping[TopicPartition, Mapping[int, str]]  # offsets that have a letter, with the MD5 of their value


Item = Event | Tombstone

# What is set aside: of a record in binary mode what `decode` needs of it, which is decoded when its range is folded;
# of others the event or tombstone. Behind it, where the record stood. Its width says which of them a row is.
Row = tuple[Any, ...]


class Origin(NamedTuple):
    """Where a record stood: all that is kept of it beside its event."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: None = None
    value: None = None
    headers: tuple[()] = ()


_ORIGIN = 4  # of its fields are set aside
_SLIM, _EVENT = SLIM_WIDTH + _ORIGIN, len(Event._fields) - 1 + _ORIGIN
_ORDER_ID = Event._fields.index("order_id")


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
            events += len(records)
            meant = [one for one in records if not _has_letter(one, letters)] if letters else records
            for order_id, row in _rows(meant):
                if (place := ranges.of(order_id)) in self.wanted:
                    spill.add(place, row)
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
            # Counted only where it may be too much at once: by what a disk's bytes may become in memory.
            total = sum(1 for _ in spill.read(part.number)) if spill.size(part.number) > _LARGE else 0
            async with connection.transaction():
                for _, found in pieces(spill, part.number, span, _order_of, _PIECE, total):
                    rows = bulk.Rows(self.models, numbers)
                    events += len(found)
                    items = [item for item in _items(found) if item.order_id not in gone]
                    if self.ledger:
                        await self._learn(numbers, items)
                    verdicts = judge(in_turn(items), {}, {}, ())
                    for change in verdicts.changes.values():
                        if self.until is not None and not change.after.erased:
                            _cut(change, self.until)
                        if change.after.version or change.after.erased:
                            rows.add(change.after)
                            if self.ledger:
                                rows.enter(change.applied)
                    await rows.copy(connection)
                rows = bulk.Rows(self.models)
                for order_id, version in gone.items():
                    rows.add(OrderState(order_id, version=version, erased=True))
                await rows.copy(connection)
                await bulk.done(connection, part.number, events)
        spill.forget(part.number)
        return events

    async def _learn(self, numbers: SourceNumbers, items: Sequence[Item]) -> None:
        """The sources' numbers, over another connection: one that is rolled back with the range is wrong for ever."""
        new = {item.source for item in items if isinstance(item, Event)}
        if not all(source in numbers for source in new):
            async with shadow.session(self.settings) as connection:
                await numbers.learn(connection, new)


def _cut(change: Change, until: datetime) -> None:
    """Without what happened later, and what follows on it."""
    kept = list(takewhile(lambda event: event.time <= until, change.applied))
    if len(kept) < len(change.applied):
        change.applied, change.after = kept, reduce(evolve, kept, change.before)


def in_turn(items: Sequence[Item]) -> list[Item]:
    """Records in the order in which they came: as they are, but for orders that came through several partitions."""
    through: dict[str, tuple[str, int]] = {}
    if all(through.setdefault(item.order_id, lane := _lane(item)) == lane for item in items):
        return [*items]
    found: dict[str, dict[tuple[str, int], list[Item]]] = {}
    for item in items:
        found.setdefault(item.order_id, {}).setdefault(_lane(item), []).append(item)
    result: list[Item] = []
    for lanes in found.values():
        if len(lanes) == 1:
            result += next(iter(lanes.values()))
        else:
            result += _merged([lanes[lane] for lane in sorted(lanes)])
    return result


def _merged(lanes: Sequence[Sequence[Item]]) -> list[Item]:
    """Lane by lane in its own order, always the head with the earliest timestamp next."""
    heads = [0] * len(lanes)
    result: list[Item] = []
    while True:
        open_lanes = [number for number, lane in enumerate(lanes) if heads[number] < len(lane)]
        if not open_lanes:
            return result
        first = min(open_lanes, key=lambda number: lanes[number][heads[number]].record.timestamp)
        result.append(lanes[first][heads[first]])
        heads[first] += 1


def _rows(records: Sequence[Record]) -> Iterator[tuple[str, Row]]:
    """What is set aside of each record, with its order; without those whose order can't be read."""
    slims = slim_all(records)
    orders = iter(orders_of_slims([found for found in slims if found is not None]))
    for record, found in zip(records, slims, strict=True):
        row = _decoded(record) if found is None else (*found, *_origin(record))
        order_id = next(orders) if found is not None else "" if row is None else _order_of(row)
        if row is not None and order_id:
            yield order_id, row


def _decoded(record: Record) -> Row | None:
    """A record that has to be decoded to know its order; None if that can't be."""
    item = decode(record)
    return (*item[:-1], *_origin(record)) if isinstance(item, Event | Tombstone) else None


def _items(rows: Sequence[Row]) -> Iterator[Item]:
    """What was set aside, decoded; without what can't be."""
    slims = [row for row in rows if len(row) == _SLIM]
    origins = [Origin(*row[-_ORIGIN:]) for row in slims]
    decoded = iter(decode_all_slim([row[:-_ORIGIN] for row in slims], origins))
    for row in rows:
        if len(row) == _SLIM:
            item = next(decoded)
            if isinstance(item, Event):
                yield item
        else:
            fields = (*row[:-_ORIGIN], Origin(*row[-_ORIGIN:]))
            yield Event._make(fields) if len(row) == _EVENT else Tombstone._make(fields)


def _order_of(row: Row) -> str:
    """Its order; "" of a row whose order can't be read, which is never set aside."""
    if len(row) == _SLIM:
        return order_of_slim(row) or ""
    order_id: str = row[_ORDER_ID] if len(row) == _EVENT else row[0]
    return order_id


def _origin(record: Record) -> tuple[str, int, int, int]:
    return record.topic, record.partition, record.offset, record.timestamp


def _lane(item: Item) -> tuple[str, int]:
    return item.record.topic, item.record.partition


def _has_letter(record: Record, letters: Mapping[int, str]) -> bool:
    return record.offset in letters and letters[record.offset] == _digest(record.value)


def _digest(value: bytes | None) -> str:
    return md5(value or b"", usedforsecurity=False).hexdigest()
