"""What the project adds to its Kafka client, on a real broker."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from uuid import uuid4

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import NoOffsetForPartitionError

from runtime.embedded.tansu import TansuBroker
from runtime.kafka import Ends, ensure_topics, group_member, log_ends, observer, partitions_of, producer
from runtime.kafka_tasks import stopped
from runtime.settings import Settings
from schemas.errors import Unavailable
from testkit.deadline import eventually
from testkit.plugin import MakeTopic
from tests.support.fleet import settings_for
from tests.support.streams import publish, stream

NOWHERE = "postgresql://localhost/unused"


def given(bootstrap: str, *topics: str) -> Settings:
    return settings_for(bootstrap, NOWHERE, *(topics or ("any",)))


@pytest.fixture
def frozen_kafka() -> Iterator[TansuBroker]:
    """A broker of the test's own, to be stopped with SIGSTOP."""
    with TansuBroker() as broker:
        yield broker
        assert broker.process is not None
        broker.process.send(signal.SIGCONT)


async def test_topics_that_are_missing_are_made_and_the_rest_left_alone(
    kafka_bootstrap: str, kafka_admin: AIOKafkaAdminClient, topic: str
) -> None:
    new = f"test-{uuid4().hex[:12]}"
    settings = given(kafka_bootstrap, topic, new)
    try:
        assert await ensure_topics(settings, settings.topics, partitions=3) == [new]
        assert await ensure_topics(settings, settings.topics, partitions=3) == []
        async with observer(settings) as consumer:

            async def there() -> bool:
                with suppress(Unavailable):  # a broker needs a moment to tell
                    return len(await partitions_of(consumer, [topic, new])) == 12 + 3
                return False

            await eventually(there)
    finally:
        await kafka_admin.delete_topics([new])


async def test_a_topic_that_is_not_there_has_no_partitions_to_guess(kafka_bootstrap: str, topic: str) -> None:
    async with observer(given(kafka_bootstrap)) as consumer:
        with pytest.raises(Unavailable, match="no topic no-such-topic"):
            await partitions_of(consumer, [topic, "no-such-topic"])


async def test_the_end_is_where_the_next_record_goes(kafka_bootstrap: str, make_topic: MakeTopic) -> None:
    topic = await make_topic(partitions=2)
    async with observer(given(kafka_bootstrap, topic)) as consumer:
        both = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
        assert await log_ends(consumer, both) == {both[0]: Ends(0, 0), both[1]: Ends(0, 0)}
        for _ in range(2):
            [end] = (await publish(kafka_bootstrap, topic, stream(10, seed=1, topic=topic), partition=1)).values()
            assert await log_ends(consumer, both) == {both[0]: Ends(0, 0), both[1]: Ends(0, end)}


@pytest.mark.apache_kafka
async def test_the_first_offset_is_the_first_that_is_kept(
    kafka_bootstrap: str, make_topic: MakeTopic, kafka_admin: AIOKafkaAdminClient
) -> None:
    topic = await make_topic(partitions=1)
    one = TopicPartition(topic, 0)
    [end] = (await publish(kafka_bootstrap, topic, stream(10, seed=1, topic=topic))).values()
    await kafka_admin.delete_records({one: RecordsToDelete(before_offset=7)})
    async with observer(given(kafka_bootstrap, topic)) as consumer:
        assert await log_ends(consumer, [one]) == {one: Ends(7, end)}


async def test_a_member_without_a_position_jumps_nowhere_by_itself(kafka_bootstrap: str, make_topic: MakeTopic) -> None:
    topic = await make_topic(partitions=1)
    await publish(kafka_bootstrap, topic, stream(10, seed=1, topic=topic))
    member = group_member(given(kafka_bootstrap, topic))
    member.subscribe([topic])
    await member.start()
    try:
        with pytest.raises(NoOffsetForPartitionError):
            await member.getmany(timeout_ms=10_000)
    finally:
        await stopped(member)


async def test_a_broker_that_is_not_there_is_unavailable() -> None:
    settings = given("127.0.0.1:1")
    with pytest.raises(Unavailable, match="Kafka: "):
        await ensure_topics(settings, ["any"], 1)
    for client in (observer(settings), producer(settings)):
        with pytest.raises(Unavailable, match="Kafka: "):
            await client.__aenter__()


async def test_a_client_whose_broker_is_frozen_is_stopped_in_time(frozen_kafka: TansuBroker) -> None:
    settings = given(frozen_kafka.bootstrap())
    await ensure_topics(settings, settings.topics, 1)
    member = group_member(settings)
    member.subscribe(settings.topics)
    await member.start()
    with pytest.raises(NoOffsetForPartitionError):
        await member.getmany(timeout_ms=10_000)
    assert frozen_kafka.process is not None
    frozen_kafka.process.send(signal.SIGSTOP)
    began = time.monotonic()
    await stopped(member)
    assert time.monotonic() - began < 6
