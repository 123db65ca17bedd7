"""The end of a client, and of the tasks behind it: no broker, no other member and no library keeps them alive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from runtime.kafka import group_member
from runtime.kafka_tasks import stopped, watched
from schemas.errors import Unavailable
from tests.support.fleet import settings_for

pytestmark = pytest.mark.apache_kafka

NOWHERE = "postgresql://localhost/unused"


class Slow(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no type information
    """A member that gives its partitions up when it is told to, and not before: rebalances wait for it."""

    def __init__(self) -> None:
        self.assigned, self.asked, self.gives_up = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        if revoked:
            self.asked.set()
            await self.gives_up.wait()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self.assigned.set()


@asynccontextmanager
async def member(bootstrap: str, topic: str, listener: Slow) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = group_member(settings_for(bootstrap, NOWHERE, topic))
    await consumer.start()
    consumer.subscribe([topic], listener=listener)
    try:
        yield consumer
    finally:
        listener.gives_up.set()
        await stopped(consumer)


async def members(admin: AIOKafkaAdminClient, topic: str) -> int:
    [answer] = await admin.describe_consumer_groups([f"group-{topic}"])
    [(_, _, _, _, _, found, *_)] = answer.groups
    return len(found)


async def test_a_member_that_waits_for_others_is_stopped_in_time_and_is_no_member_afterwards(
    kafka_bootstrap: str, kafka_admin: AIOKafkaAdminClient, topic: str
) -> None:
    before, first = asyncio.all_tasks(), Slow()
    async with member(kafka_bootstrap, topic, first):
        await asyncio.wait_for(first.assigned.wait(), 20)
        second = group_member(settings_for(kafka_bootstrap, NOWHERE, topic))
        await second.start()
        second.subscribe([topic], listener=Slow())
        await asyncio.wait_for(first.asked.wait(), 20)  # the second's JoinGroup is with the broker, and waits
        assert await members(kafka_admin, topic) == 2
        await asyncio.wait_for(stopped(second), 5)
        assert await members(kafka_admin, topic) == 1
    assert asyncio.all_tasks() - before == set()


@pytest.mark.parametrize("name", ["_fetch_task", "_coordination_task", "_sync_task"])
async def test_a_member_whose_task_ended_in_silence_is_no_member(kafka_bootstrap: str, topic: str, name: str) -> None:
    listener, stop = Slow(), asyncio.Event()
    async with member(kafka_bootstrap, topic, listener) as consumer:
        await asyncio.wait_for(listener.assigned.wait(), 20)
        watching = asyncio.ensure_future(watched(consumer, stop))
        parts = (consumer._fetcher, consumer._coordinator, consumer._client)
        [task] = [found for part in parts if (found := getattr(part, name, None))]
        task.cancel()
        with pytest.raises(Unavailable, match="ended"):
            await asyncio.wait_for(watching, 5)


async def test_a_member_that_lives_is_watched_until_told_to_stop(kafka_bootstrap: str, topic: str) -> None:
    listener, stop = Slow(), asyncio.Event()
    async with member(kafka_bootstrap, topic, listener) as consumer:
        await asyncio.wait_for(listener.assigned.wait(), 20)
        watching = asyncio.ensure_future(watched(consumer, stop))
        await asyncio.wait([watching], timeout=0.1)
        assert not watching.done()
        stop.set()
        await asyncio.wait_for(watching, 5)
