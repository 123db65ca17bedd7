"""The processor on a real database, fed by hand: logs in memory instead of Kafka."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg

from consumer import checkpoints, ledger, proof, reference
from consumer.checkpoints import Place
from consumer.processor import Holds, Processor
from consumer.projection import Outcome, Projection
from consumer.read_models import READ_MODELS, ReadModel
from runtime.failpoints import Failpoints
from schemas.events import StoredRecord
from schemas.wire_batch import decode_all

TOPIC = "orders.events"


COPIED = ledger.COPIED


@contextmanager
def copied_from(events: int) -> Iterator[None]:
    """From so many events on a batch is written as a large one."""
    ledger.COPIED = events
    try:
        yield
    finally:
        ledger.COPIED = COPIED


def attributes(
    order: str, version: int, kind: str, data: Any = None, *, id_: str = "", source: str = "/shop"
) -> dict[str, Any]:
    """An event as its producer means it; a made-up time that grows with the version."""
    return {
        "id": id_ or f"{order}-{version}",
        "source": source,
        "type": kind,
        "subject": order,
        "time": f"2026-03-01T12:{version % 60:02d}:00Z",
        "sequence": version,
        "data": data,
    }


def placed(order: str, version: int = 1, price: str = "12.50", customer: str = "c-1", **more: Any) -> dict[str, Any]:
    """An order.placed with one line."""
    data = {
        "customer": {"id": customer, "name": f"Name of {customer}"},
        "currency": "EUR",
        "lines": [{"sku": "sku-1", "title": "A thing", "quantity": 2, "unit_price": price}],
    }
    return attributes(order, version, "order.placed", data, **more)


def structured(event: dict[str, Any]) -> bytes:
    """The event as a structured CloudEvent."""
    return json.dumps({"specversion": "1.0", **event}).encode()  # exact for integers of any size


class Engine:
    """A fleet of one, whose log, crashes and zombies are in the test's hands."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], models: Sequence[ReadModel] = READ_MODELS) -> None:
        self.pool = pool
        self.logs: dict[int, list[StoredRecord]] = {}
        self.holds: Holds = {}
        self.retries: list[BaseException] = []
        self._models = models
        self.start()

    def start(self, failpoints: str = "") -> None:
        """A new process: nothing remembered."""
        self.processor = Processor(
            self.pool,
            Projection(self._models),
            Failpoints(failpoints),
            on_retry=lambda error, _: self.retries.append(error),
        )

    def append(
        self, value: bytes | None, *, partition: int = 0, key: bytes | None = None, **headers: str
    ) -> StoredRecord:
        """Add a record to a partition's log."""
        log = self.logs.setdefault(partition, [])
        pairs = tuple((name, text.encode()) for name, text in headers.items())
        log.append(StoredRecord(TOPIC, partition, len(log), 0, key, value, pairs))
        return log[-1]

    def send(self, *events: dict[str, Any], partition: int = 0) -> None:
        """Add events to a partition's log."""
        for event in events:
            self.append(structured(event), partition=partition, key=event["subject"].encode())

    async def take(self) -> None:
        """Become the owner of all partitions, from their checkpoints."""
        async with self.pool.acquire() as connection:
            starts = {Place(TOPIC, partition): 0 for partition in self.logs}
            self.holds = await checkpoints.take(connection, starts, "test")

    async def run(self, most: int | None = None) -> Outcome:
        """Apply what is in the logs: in one batch, or in batches of at most `most` records."""
        await self.take()
        total = Outcome()
        while batch := self.next_batch(most):
            total += await self.apply(batch)
        return total

    def next_batch(self, most: int | None = None) -> list[StoredRecord]:
        """What follows on from the holds."""
        left = [
            record
            for partition, log in sorted(self.logs.items())
            for record in log[self.holds[Place(TOPIC, partition)].next_offset :]
        ]
        return left[:most]

    async def apply(self, batch: Sequence[StoredRecord], holds: Holds | None = None) -> Outcome:
        """Apply a batch that follows on from the holds (or from somebody's outdated ones)."""
        outcome, moved = await self.processor.process(decode_all(batch), holds or self.holds)
        if holds is None:
            self.holds = moved
        return outcome

    async def differences(
        self, deliveries: Sequence[reference.Event | reference.Broken | reference.Tombstone]
    ) -> list[str]:
        """Everything in the database that isn't as the reference model says, after these deliveries in this order."""
        async with self.pool.acquire() as connection:
            checks = await proof.prove(connection, reference.settle(deliveries))
        return [f"{check.name}: {one}" for check in checks for one in check.differences]

    async def fetch(self, query: str, *arguments: Any) -> list[dict[str, Any]]:
        async with self.pool.acquire() as connection:
            return [dict(row) for row in await connection.fetch(query, *arguments)]

    async def value(self, query: str, *arguments: Any) -> Any:
        async with self.pool.acquire() as connection:
            return await connection.fetchval(query, *arguments)


@asynccontextmanager
async def engine(url: str, models: Sequence[ReadModel] = READ_MODELS) -> AsyncIterator[Engine]:
    """An engine on a database that has the schema."""
    async with asyncpg.create_pool(url, min_size=1, max_size=5) as pool:
        yield Engine(pool, models)
