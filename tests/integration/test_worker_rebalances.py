"""Rebalances that take long, or fail."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor

from runtime.kafka_tasks import stopped
from schemas.errors import Refused
from testkit.deadline import eventually
from tests.support.fleet import settings_for, working
from tests.support.saboteurs.kafka import Api, KafkaProxy, rebalancing
from tests.support.streams import publish, stream

INTERVAL = 1.0  # seconds after which Kafka's client thinks that nobody polls


@pytest.mark.apache_kafka
async def test_a_rebalance_that_lasts_longer_than_the_poll_interval_ends_all_the_same(
    kafka_bootstrap: str, database_url: str, topic: str
) -> None:
    """aiokafka doesn't join again for a member that hasn't polled for so long, and in a rebalance no lane polls."""
    with KafkaProxy(kafka_bootstrap) as proxy:
        settings = settings_for(proxy.address, database_url, topic, max_poll_interval=INTERVAL)
        async with working(settings) as worker:
            await worker.caught_up(await publish(kafka_bootstrap, topic, stream(5, seed=1, topic=topic)))
            joining = proxy.sever(Api.JOIN_GROUP)
            proxy.answer(Api.HEARTBEAT, rebalancing, times=1)
            await eventually(lambda: joining.happened)
            await asyncio.sleep(3 * INTERVAL)  # what passes is what is tested
            proxy.rules.remove(joining)
            await worker.caught_up(await publish(kafka_bootstrap, topic, stream(5, seed=2, topic=topic)), timeout=15)


@pytest.mark.apache_kafka
async def test_who_has_nothing_in_hand_is_not_kept_by_a_rebalance(
    kafka_bootstrap: str, database_url: str, topic: str
) -> None:
    with KafkaProxy(kafka_bootstrap) as proxy:
        settings = settings_for(proxy.address, database_url, topic, stop_timeout=60)
        async with working(settings) as worker:
            await worker.caught_up(await publish(kafka_bootstrap, topic, stream(5, seed=1, topic=topic)))
            joining = proxy.sever(Api.JOIN_GROUP)
            proxy.answer(Api.HEARTBEAT, rebalancing, times=1)
            await eventually(lambda: joining.happened >= 5)  # the worker listens by now
            began = time.monotonic()
            await worker.stop()
            assert time.monotonic() - began < 5


@pytest.mark.apache_kafka
async def test_a_group_of_other_consumers_is_none_to_join(kafka_bootstrap: str, database_url: str, topic: str) -> None:
    """What a rebalance fails with is told to who polls: it has to be heard at once, though no lane does."""
    settings = settings_for(kafka_bootstrap, database_url, topic)
    stranger = AIOKafkaConsumer(
        topic,
        bootstrap_servers=kafka_bootstrap,
        group_id=settings.group_id,
        partition_assignment_strategy=(RoundRobinPartitionAssignor,),
    )
    try:
        await stranger.start()
        async with working(settings) as worker:
            failure = await worker.failure(timeout=20)
        assert isinstance(failure, Refused)
        assert "PROJECTOR_GROUP_ID" in str(failure)
    finally:
        await stopped(stranger)
