"""The outbox as it is written: an order's new events as rows, in the transaction that changes the order.

A row is the event, so the same transaction can give it to the consumer's processor as well (local-first): `record`
is the Kafka record that the relay will make of it, and what comes back from Kafka has the same source and id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from runtime.sql import Queries
from schemas import payload
from schemas.connection import Connection
from schemas.events import Event, StoredRecord
from schemas.identity import event_uuid
from schemas.json_text import printed

SQL = Queries("producer", "queries.sql")

_NOWHERE = -1  # the partition of a record that is in no topic


class OutboxRow(NamedTuple):
    """A row of the outbox. `time` is RFC 3339, `payload` JSON text."""

    position: int
    id: str
    aggregateid: str
    type: str
    sequence: int
    source: str
    specversion: str
    time: str
    traceparent: str | None
    payload: str


def headers(row: OutboxRow) -> list[tuple[str, bytes]]:
    """CloudEvents' binary mode for Kafka, with `id` as Debezium's outbox event router has it."""
    found = {
        "id": row.id,
        "ce_id": row.id,
        "ce_type": row.type,
        "ce_source": row.source,
        "ce_specversion": row.specversion,
        "ce_time": row.time,
        "ce_subject": row.aggregateid,
        "ce_sequence": str(row.sequence),
    }
    if row.traceparent is not None:
        found["traceparent"] = row.traceparent
    return [(name, text.encode()) for name, text in found.items()]


def new_event(row: OutboxRow, data: Mapping[str, Any] | None, occurred_at: datetime, topic: str) -> Event:
    """The event that a consumer will make of the row's record, which is in no topic yet."""
    record = StoredRecord(
        topic,
        _NOWHERE,
        row.sequence,
        int(occurred_at.timestamp() * 1000),
        row.aggregateid.encode(),
        row.payload.encode(),
        tuple(headers(row)),
    )
    return Event(
        source=row.source,
        id=row.id,
        type=row.type,
        order_id=row.aggregateid,
        version=row.sequence,
        time=occurred_at,
        data=data,
        data_text=row.payload,
        uuid=event_uuid(row.id),
        schema_version=1,
        record=record,
    )


def payload_of(data: Mapping[str, Any] | None) -> str:
    """An event's data as JSON text; an empty object for a type that carries none, since Kafka's null is a tombstone."""
    if not data:
        return "{}"
    return printed(data)


async def add(connection: Connection, rows: Sequence[OutboxRow], occurred_at: datetime) -> None:
    """Write events into the outbox, in the caller's transaction. Their positions are drawn by the server."""
    await connection.execute(
        SQL["outbox_add"],
        [row.id for row in rows],
        [row.aggregateid for row in rows],
        [row.type for row in rows],
        [row.sequence for row in rows],
        [row.source for row in rows],
        [row.time for row in rows],
        [row.traceparent for row in rows],
        [row.payload for row in rows],
        [occurred_at for _ in rows],
    )


async def of_order(connection: Connection, order_id: str, above: int, below: int) -> list[OutboxRow]:
    """An order's events between two versions, as far as the outbox still has them."""
    return [OutboxRow(*row.values()) for row in await connection.fetch(SQL["outbox_of_order"], order_id, above, below)]


def read(row: OutboxRow, topic: str) -> Event:
    """The event that a row is."""
    data, _ = payload.read(row.type, 1, row.payload.encode())
    return new_event(row, data, datetime.fromisoformat(row.time), topic)


def rfc3339(time: datetime) -> str:
    """A UTC time as text: 2026-11-27T16:00:00.123456Z."""
    return time.isoformat().replace("+00:00", "Z")
