"""*naive*: the textbook consumer, as a good engineer writes it in an afternoon: one transaction per event.

It uses the project's own decoding, fold and arithmetic and keeps the same tables with plain single-row statements:
insert into the ledger (which deduplicates and is the timeline), load the order, fold, store it, two aggregates, the
queue, the checkpoint. No parking, no dead letters, no ownership. `python -m bench.naive` is that consumer.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from operator import attrgetter
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.race import race
from bench.stage import PARTITIONS, SQL, Stage, connected, environment, fresh_database, members
from bench.stream import Load
from bench.truth import Truth
from consumer.ledger import SourceNumbers
from consumer.order_store import from_row
from consumer.read_model_store import ReadModelStore
from consumer.read_models import READ_MODELS
from consumer.verdicts import Change
from runtime import service
from runtime.kafka_tasks import stopped
from runtime.settings import load as load_settings
from schemas import money
from schemas.connection import Connection
from schemas.events import Event
from schemas.identity import is_canonical
from schemas.order import OrderState, evolve
from schemas.wire import decode

_SLOWEST = 50  # events/s below which a run is given up

# The order's fields behind its id, as `naive_store` takes them.
_state = attrgetter(
    "version", "erased", "status", "customer_id", "customer_name", "customer_email", "currency", "lines",
    "unit_count", "total", "paid", "refunded", "shipping_address", "carrier", "tracking_number", "cancel_reason",
    "placed_at", "confirmed_at", "paid_at", "shipped_at", "delivered_at", "cancelled_at", "last_event_id",
    "last_event_at",
)  # fmt: skip
_MONEY = (9, 10, 11)


async def naive(on: Stage, load: Load, truth: Truth) -> dict[str, float]:
    """Events per second and CPU per event, on a topic with few events."""
    async with fresh_database(on) as url, connected(on.at(url, load.topic)) as connection:
        log = on.home / "naive.log"
        commands = [(("-m", "bench.naive"), environment(on.at(url, load.topic)))]
        with members(commands, log) as workers:
            limit = 60 + load.events / _SLOWEST
            result = await race(on, connection, load.topic, load.events, workers, log, limit)
        await truth.check(connection, load)
    return result.figures()


class Textbook:
    """Applies events one by one."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._store = ReadModelStore(READ_MODELS)
        self._sources = SourceNumbers()

    async def apply(self, event: Event) -> None:
        """One event, one transaction."""
        connection = self._connection
        await self._sources.learn(connection, [event.source])
        async with connection.transaction():
            if await self._is_new(event):
                row = await connection.fetchrow(SQL["naive_load"], event.order_id)
                before, revision = from_row(row) if row is not None else (OrderState(event.order_id), 0)
                after = evolve(before, event)
                await self._write_order(after, revision + 1)
                await self._write_read_models(Change(before, after))
            record = event.record
            await connection.execute(
                SQL["naive_checkpoint"], record.topic, record.partition, record.offset + 1, event.time
            )

    async def _is_new(self, event: Event) -> bool:
        plain = None if is_canonical(event.id) else event.id
        number = self._sources[event.source]
        entry = (event.uuid, number, event.version, event.time, event.order_id, event.type, plain, event.data_text)
        return await self._connection.fetchval(SQL["naive_seen"], *entry) is True

    async def _write_order(self, state: OrderState, revision: int) -> None:
        values: list[Any] = list(_state(state))
        for place in _MONEY:
            values[place] = _decimal(values[place])
        await self._connection.execute(SQL["naive_store"], state.order_id, revision, *values)

    async def _write_read_models(self, change: Change) -> None:
        delta = self._store.derive([change])
        for contribution in delta.contributions:
            query = SQL["naive_customer"] if contribution.model.name == "customer_summary" else SQL["naive_sales"]
            for key, (*counts, revenue) in contribution.sums.items():
                if any(counts) or revenue:
                    await self._connection.execute(query, *key, *counts, _decimal(revenue))
        for document in delta.documents:
            for order_id, customer, name, units, total, currency, since in document.rows:
                row = (order_id, customer, name, units, _decimal(total), currency, since)
                await self._connection.execute(SQL["naive_queue"], *row)
            for order_id in document.removed:
                await self._connection.execute(SQL["naive_unqueue"], order_id)


def _decimal(amount: int) -> Decimal:
    return Decimal(money.text(amount))


async def _main(stop: asyncio.Event) -> int:
    settings = load_settings()
    topic = settings.topics[0]
    consumer = AIOKafkaConsumer(**settings.kafka_connection(), enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, partition) for partition in range(PARTITIONS)])
        async with connected(settings) as connection:
            textbook = Textbook(connection)
            await connection.execute(SQL["naive_take"], topic, PARTITIONS)
            while not stop.is_set():
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        item = decode(record)
                        if isinstance(item, Event):
                            await textbook.apply(item)
    finally:
        await stopped(consumer)
    return 0


if __name__ == "__main__":
    raise SystemExit(service.run(_main))
