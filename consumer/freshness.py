"""How far behind the read models are: per partition and in all, in events and in seconds.

Staleness is 0 when a partition is caught up, else now − the time of its oldest event not yet applied: it never
grows on an idle topic. In all it is the slowest partition's, never an average, which would hide a stalled one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from runtime.kafka import Ends, log_ends, observer, partitions_of, translated
from runtime.settings import Settings
from runtime.sql import Queries
from schemas.connection import Connection
from schemas.errors import Unavailable
from schemas.events import Event
from schemas.wire import decode

_SQL = Queries("consumer", "queries.sql")

_LOOK = 5.0  # seconds to wait for the oldest unapplied record of each partition that is behind
_MOST = 10_000  # parked events to be counted one by one: some 10 ms


@dataclass(frozen=True)
class PartitionStatus:
    """One partition. `lag` is in records; `staleness` in seconds; `oldest_at` is the oldest unapplied event's time."""

    topic: str
    partition: int
    next_offset: int
    end_offset: int
    lag: int
    staleness: float
    oldest_at: datetime | None
    last_event_at: datetime | None
    updated_at: datetime | None
    owner: str | None


@dataclass(frozen=True)
class Parked:
    """What waits for its turn: events, of how many orders, how many of them older than the limit, since when."""

    events: int
    orders: int
    older: int
    oldest_at: datetime | None


@dataclass(frozen=True)
class Status:
    """All of it; `partitions` has the slowest first. `parked_limit` is in seconds; `parked_older` are beyond it."""

    lag: int
    staleness: float
    partitions: list[PartitionStatus]
    parked: int
    parked_orders: int
    parked_older: int
    parked_limit: float
    parked_oldest_at: datetime | None
    dead_letters: dict[str, int]


async def status(connection: Connection, settings: Settings) -> Status:
    """Look at Kafka and PostgreSQL. Raises Unavailable if one of them can't be reached."""
    async with observer(settings) as consumer:
        return await look(connection, settings, consumer)


async def look(connection: Connection, settings: Settings, consumer: AIOKafkaConsumer) -> Status:
    """The same with an observer that is there already, and that fetches nothing afterwards."""
    rows = {
        (row["topic"], row["partition"]): row
        for row in await connection.fetch(_SQL["checkpoints_read"], list(settings.topics))
    }
    found = await partitions_of(consumer, settings.topics)
    ends = await log_ends(consumer, found)
    starts: dict[TopicPartition, int] = {
        one: rows[one]["next_offset"] if one in rows else ends[one].first for one in found
    }
    behind = {one: starts[one] for one in found if starts[one] < ends[one].end}
    oldest = await _oldest(consumer, behind, ends, rows)
    consumer.unsubscribe()
    now = datetime.now(UTC)
    partitions = [_partition(one, rows.get(one), starts[one], ends[one].end, oldest.get(one), now) for one in found]
    partitions.sort(key=lambda one: (-one.staleness, -one.lag, one.topic, one.partition))
    waits = _parked(await connection.fetchrow(_SQL["status_pending"], settings.parked_limit))
    letters = await connection.fetch(_SQL["status_letters"])
    return Status(
        lag=sum(one.lag for one in partitions),
        staleness=max((one.staleness for one in partitions), default=0.0),
        partitions=partitions,
        parked=waits.events,
        parked_orders=waits.orders,
        parked_older=waits.older,
        parked_limit=settings.parked_limit,
        parked_oldest_at=waits.oldest_at,
        dead_letters={row["reason"]: row["letters"] for row in letters},
    )


async def lag(connection: Connection, consumer: AIOKafkaConsumer, topics: Sequence[str]) -> int:
    """Records not yet applied, in all: cheap enough to ask several times a second."""
    rows = await connection.fetch(_SQL["checkpoints_read"], list(topics))
    stands = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
    found = await partitions_of(consumer, topics)
    ends = await log_ends(consumer, found)
    return sum(max(ends[one].end - stands.get(tuple(one), ends[one].first), 0) for one in found)


async def parked_age(connection: Connection, limit: float, most: int = _MOST) -> Parked:
    """What waits, and how much of it for longer than `limit` seconds: cheap enough to ask every few seconds.

    Exact below `most` events. From there on `events` is PostgreSQL's estimate; `orders` and `older` mean "at least".
    """
    return _parked(await connection.fetchrow(_SQL["parked_age"], limit, most))


def _parked(row: Any) -> Parked:
    return Parked(row["events"], row["orders"], row["older"], row["oldest_at"])


def _partition(
    one: TopicPartition, row: Any, start: int, end: int, oldest: datetime | None, now: datetime
) -> PartitionStatus:
    behind = max(end - start, 0)
    return PartitionStatus(
        topic=one.topic,
        partition=one.partition,
        next_offset=start,
        end_offset=end,
        lag=behind,
        staleness=max((now - oldest).total_seconds(), 0.0) if behind and oldest else 0.0,
        oldest_at=oldest,
        last_event_at=row["last_event_at"] if row else None,
        updated_at=row["updated_at"] if row else None,
        owner=row["owner"] if row else None,
    )


async def _oldest(
    consumer: AIOKafkaConsumer,
    starts: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, Ends],
    rows: Mapping[tuple[str, int], Any],
) -> dict[TopicPartition, datetime]:
    """The time of the first unapplied event of each partition that is behind: a look at one record each. One whose
    rest holds no record (a transaction's marker, records that were taken back) has none.

    Of a partition whose record doesn't come in time the last applied event's time is taken: that is a little earlier,
    and never says that all is well. Raises Unavailable if there is no such event.
    """
    if not starts:
        return {}
    consumer.assign(list(starts))
    for one, offset in starts.items():
        consumer.seek(one, offset)
    found: dict[TopicPartition, datetime] = {}
    deadline = time.monotonic() + _LOOK
    left = list(starts)
    while left and time.monotonic() < deadline:
        with translated():
            fetched = await consumer.getmany(*left, timeout_ms=200, max_records=len(left) * 10)
        for one, records in fetched.items():
            found.setdefault(one, _time(records[0]))
        left = [one for one in left if one not in found and await consumer.position(one) < ends[one].end]
    for one in left:
        before = rows[one]["last_event_at"] if one in rows else None
        if before is None:
            raise Unavailable(f"Kafka: what is to be applied next is not to be had within {_LOOK:.0f} s")
        found[one] = before
    return found


def _time(record: ConsumerRecord) -> datetime:
    """When it happened; of a record that is no event, when Kafka got it."""
    item = decode(record)
    return item.time if isinstance(item, Event) else datetime.fromtimestamp(record.timestamp / 1000, UTC)
