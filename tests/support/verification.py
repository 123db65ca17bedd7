"""Verifications in tests: a world with a real log, a database that is what the log says, and what is found there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from consumer import checkpoints, log_slice
from consumer.checkpoints import Place
from consumer.letters import Selection
from consumer.processor import Processor
from consumer.projection import Projection
from consumer.read_models import READ_MODELS, ReadModel
from consumer.redelivery import Redelivery, Retried
from consumer.verification.findings import Findings
from consumer.verification.run import Plan, verify
from runtime.kafka import Ends as LogEnds
from runtime.kafka import observer
from runtime.settings import Settings
from schemas.events import Decoded, Unreadable
from schemas.wire import decode
from tests.support.engine import structured
from tests.support.events import Rec
from tests.support.fleet import working
from tests.support.streams import Ends, Stream, deliveries_of, publish


class World:
    """A topic, and a database that workers keep by it."""

    def __init__(self, settings: Settings, models: Sequence[ReadModel] = READ_MODELS) -> None:
        self.settings = settings
        self.topic = settings.topics[0]
        self.models = models
        self.ends: Ends = {}

    async def send(self, what: Stream | Sequence[Any], **more: Any) -> None:
        """To the topic; nothing is applied."""
        ends = await publish(self.settings.kafka_bootstrap_servers, self.topic, what, **more)
        self.ends |= {place: max(end, self.ends.get(place, 0)) for place, end in ends.items()}

    async def tell(self, *events: dict[str, Any], partition: int = 0) -> None:
        """Send events as structured CloudEvents."""
        records = [Rec(key=event["subject"].encode(), value=structured(event)) for event in events]
        await self.send(deliveries_of(records), partition=partition)

    async def erase(self, order_id: str, partition: int = 0) -> None:
        """Send a tombstone."""
        await self.send(deliveries_of([Rec(key=order_id.encode())]), partition=partition)

    async def work(self) -> None:
        """Have a worker apply all that was sent."""
        async with working(self.settings) as worker:
            await worker.caught_up(self.ends)

    async def apply(
        self,
        *partitions: int,
        models: Sequence[ReadModel] | None = None,
        refuses: Callable[[Decoded], bool] = lambda item: False,
    ) -> None:
        """Apply what these partitions hold beyond their checkpoints, one after the other; `refuses` what an older
        version could not read."""
        async with self.pool() as pool, observer(self.settings) as consumer:
            async with pool.acquire() as connection:
                places = {Place(self.topic, partition): 0 for partition in partitions}
                holds = await checkpoints.take(connection, places, "test")
            spans = await log_slice.bounded(consumer, [self.topic], partitions=partitions)
            processor = Processor(pool, Projection(models or self.models))
            for partition in partitions:
                one = next(one for one in spans if one.partition == partition)
                span = LogEnds(holds[Place(*one)].next_offset, spans[one].end)
                async for batch in log_slice.records(consumer, {one: span}, 100):
                    items = [decode(record) for record in batch]
                    read = [Unreadable("as before", None, None, one.record) if refuses(one) else one for one in items]
                    _, holds = await processor.process(read, holds)

    async def apply_beside(self, *items: Decoded) -> None:
        """As a writer does that is no worker: no checkpoint moves."""
        async with self.pool() as pool:
            await Processor(pool, Projection(self.models)).process(list(items), {})

    async def retry(self, models: Sequence[ReadModel] | None = None, **selected: Any) -> list[Retried]:
        """Retry letters."""
        async with self.pool() as pool:
            redelivery = Redelivery(pool, lambda: Projection(models or self.models), "tester", execute=True)
            return [one async for one in redelivery.run(Selection(**selected))]

    async def verify(self, **plan: Any) -> Findings:
        return await verify(self.settings, Plan(**plan), self.models)

    async def differences(self, **plan: Any) -> list[str]:
        """All that is found, by log, unless the plan says otherwise."""
        return told(await self.verify(**plan))

    @asynccontextmanager
    async def pool(self) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
        async with asyncpg.create_pool(self.settings.database_url.get_secret_value(), min_size=1, max_size=3) as pool:
            yield pool

    async def execute(self, *statements: str) -> None:
        async with self.pool() as pool:
            for statement in statements:
                await pool.execute(statement)

    async def fetch(self, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        async with self.pool() as pool:
            return [tuple(row) for row in await pool.fetch(query, *arguments)]


def told(findings: Findings) -> list[str]:
    """Each difference as a line: what, key, column."""
    return [
        " ".join(map(str, (check.name, *one.key, one.column or _row(one.expected, one.actual))))
        for check in findings.checks.values()
        for one in check.first
    ]


def counted(findings: Findings) -> dict[str, int]:
    """How many rows of each relation were expected; as many were found."""
    assert all(check.expected == check.found for check in findings.checks.values())
    return {name: check.expected for name, check in findings.checks.items()}


def _row(expected: Any, found: Any) -> str:
    if isinstance(expected, Iterable) and not isinstance(expected, str):
        return "missing" if not found else "extra" if not expected else "twice"
    return str(found)
