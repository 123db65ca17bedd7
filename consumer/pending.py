"""What could not be applied: events that wait for their turn, and dead letters. Both keep the record whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import asyncpg

from consumer import headers
from consumer.ledger import SourceNumbers
from consumer.verdicts import Letter, identity
from runtime.sql import Queries
from schemas.connection import Connection
from schemas.events import Event, Record, StoredRecord, Unreadable
from schemas.wire import decode

_SQL = Queries("consumer", "queries.sql")


class Spoilt(NamedTuple):
    """A parked event that this release can't read, though the one that parked it could: an upcaster is missing, say."""

    key: tuple[str, int]  # of its row: UUID and source number
    record: Unreadable


class Waiting(NamedTuple):
    """What is parked for some orders: by order, in version order and then in the order in which it came."""

    events: dict[str, list[Event]]
    spoilt: list[Spoilt]


async def waiting(connection: Connection, order_ids: Sequence[str]) -> Waiting:
    """What is parked for these orders."""
    found = Waiting({}, [])
    if order_ids:
        for row in await connection.fetch(_SQL["parked_waiting"], order_ids):
            item = decode(stored(row))
            if isinstance(item, Event) and item.order_id == row["order_id"]:
                found.events.setdefault(item.order_id, []).append(item)
            else:
                why = item.why if isinstance(item, Unreadable) else "it was another event's record when it was parked"
                record = Unreadable(why, row["order_id"], row["event_id"], item.record)
                found.spoilt.append(Spoilt((row["event_uuid"], row["source_no"]), record))
    return found


def stored(row: asyncpg.Record) -> StoredRecord:
    """A record as it came, from a row that kept it."""
    return StoredRecord(
        row["topic"],
        row["partition"],
        row["offset"],
        row["timestamp"],
        row["key"],
        row["value"],
        headers.from_json(row["headers"]),
    )


async def park(connection: Connection, events: Sequence[Event], numbers: SourceNumbers) -> None:
    """Keep events until the hole before them closes."""
    rows = [
        (
            event.uuid,
            numbers[event.source],
            event.order_id,
            event.version,
            event.id,
            event.source,
            event.type,
            event.time,
            *_record(event.record),
        )
        for event in events
    ]
    await _write(connection, "parked_add", rows)


async def unpark(
    connection: Connection, events: Sequence[Event], spoilt: Sequence[Spoilt], numbers: SourceNumbers
) -> None:
    """These no longer wait."""
    uuids, sources = numbers.keys_of([identity(event) for event in events])
    uuids += [one.key[0] for one in spoilt]
    sources += [one.key[1] for one in spoilt]
    if uuids:
        await connection.execute(_SQL["parked_remove"], uuids, sources)


async def bury(connection: Connection, letters: Iterable[Letter], numbers: SourceNumbers) -> None:
    """Record what can't be applied, and why; a record that has its letter already keeps that one."""
    await _write(connection, "letters_add", [_letter(letter, numbers) for letter in letters])


def _letter(letter: Letter, numbers: SourceNumbers) -> tuple[Any, ...]:
    of = letter.of
    who: tuple[Any, ...]
    if isinstance(of, Event):
        who = (of.order_id, of.id, of.source, of.type, of.version, of.uuid, numbers[of.source])
    else:
        who = (of.order_id, of.event_id, None, None, None, None, None)
    topic, partition, offset, timestamp, key, value, head = _record(of.record)
    return (letter.reason, *who, topic, partition, offset, timestamp, letter.why, key, value, head)


def _record(record: Record) -> tuple[Any, ...]:
    return (
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        headers.to_json(record.headers),
    )


async def _write(connection: Connection, query: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        await connection.execute(_SQL[query], *map(list, zip(*rows, strict=True)))
