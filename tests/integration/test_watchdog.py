"""The watchdog ends a member that is stuck, and nobody who only waits; its health says what is true meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from consumer.checkpoints import Hold, Place
from consumer.health import Health
from consumer.observation import Observation
from consumer.watchdog import Watchdog
from runtime.settings import load
from schemas.connection import Pool
from schemas.errors import Stuck, Unavailable
from testkit.deadline import eventually

LIMIT = 0.5
HELD = Place("t", 0)


class Client:
    """As much of a consumer as the watchdog asks."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.away = False

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        if self.away:
            raise KafkaConnectionError
        return dict.fromkeys(partitions, self.end)

    async def topics(self) -> set[str]:
        return {"t"}


@dataclass
class Watched:
    """A member under watch: what Kafka says, where it stands, and what its watchdog makes of that."""

    client: Client
    member: Any
    health: Health
    observation: Observation
    task: asyncio.Task[None]

    def stand(self, offset: int) -> None:
        self.member.holds = {HELD: Hold(offset, 1, 1)}

    async def lives_on(self, seconds: float = 3 * LIMIT) -> None:
        done, _ = await asyncio.wait([self.task], timeout=seconds)
        assert not done, self.task.exception()


@pytest_asyncio.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with asyncpg.create_pool(database_url, min_size=1, max_size=2) as made:
        yield made


@pytest_asyncio.fixture
async def watched(pool: Pool, database_url: str) -> AsyncIterator[Watched]:
    """A member that holds a partition of 5 records, and has applied them all."""
    settings = load({}, database_url=database_url, stuck_timeout=LIMIT)
    client, health, observation = Client(end=5), Health(), Observation()
    member = SimpleNamespace(holds={HELD: Hold(5, 1, 1)}, assigned=True)
    watching = Watchdog(settings, pool, observation, health).watch(client, member, asyncio.Event())  # type: ignore[arg-type]  # a stand-in
    task = asyncio.ensure_future(watching)
    yield Watched(client, member, health, observation, task)
    task.cancel()
    await asyncio.wait([task])


def report(watched: Watched) -> dict[str, str]:
    checks: dict[str, str] = watched.health.report()["checks"]
    return checks


async def test_a_member_that_is_caught_up_is_ready_and_left_alone(watched: Watched) -> None:
    assert not watched.health.ready
    await eventually(lambda: watched.health.ready)
    await watched.lives_on()


async def test_records_that_wait_while_nothing_moves_end_it(watched: Watched) -> None:
    watched.client.end = 6
    await eventually(lambda: report(watched)["moving"] == "1 partitions stand still")
    with pytest.raises(Stuck, match="t/0: records wait"):
        await asyncio.wait_for(watched.task, 10 * LIMIT)


async def test_one_that_is_slow_but_moves_is_left_alone(watched: Watched) -> None:
    watched.client.end = 1_000_000
    began, offset = time.monotonic(), 5
    while time.monotonic() - began < 3 * LIMIT:
        offset += 1
        watched.stand(offset)
        await watched.lives_on(LIMIT / 5)


async def test_nobody_is_stuck_while_kafka_is_away(watched: Watched) -> None:
    watched.client.end = 6
    watched.client.away = True
    await watched.lives_on()
    assert report(watched)["kafka"] == "Kafka: KafkaConnectionError"
    watched.client.away = False
    watched.stand(6)
    await eventually(lambda: watched.health.ready)


async def test_nobody_is_stuck_whose_batch_waits_for_postgresql(watched: Watched) -> None:
    watched.client.end = 6
    began = time.monotonic()
    while time.monotonic() - began < 3 * LIMIT:
        watched.observation.retry(Unavailable("PostgreSQL: away"))
        await watched.lives_on(LIMIT / 5)


async def test_nobody_is_stuck_while_postgresql_gives_no_connection(watched: Watched, pool: Pool) -> None:
    async with pool.acquire(), pool.acquire():
        watched.client.end = 6
        await watched.lives_on()
    watched.stand(6)
    await eventually(lambda: watched.health.ready)


async def test_an_assignment_that_never_comes_ends_it(watched: Watched) -> None:
    await eventually(lambda: watched.health.ready)
    watched.member.holds, watched.member.assigned = {}, False
    await eventually(lambda: report(watched)["assigned"] == "a rebalance is under way")
    with pytest.raises(Stuck, match="no assignment"):
        await asyncio.wait_for(watched.task, 10 * LIMIT)


async def test_a_member_without_partitions_is_ready(watched: Watched) -> None:
    watched.member.holds = {}
    await eventually(lambda: watched.health.ready)
    await watched.lives_on()


async def test_a_schema_that_lacks_something_is_told_and_no_reason_to_end(watched: Watched, pool: Pool) -> None:
    await eventually(lambda: watched.health.ready)
    await pool.execute("DELETE FROM projector.read_models WHERE name = 'customer_summary'")
    await eventually(lambda: "customer_summary" in report(watched)["schema"])
    assert report(watched)["postgresql"] == "ok"
    await watched.lives_on()
