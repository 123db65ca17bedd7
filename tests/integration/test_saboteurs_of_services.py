"""The saboteurs that speak a protocol or run servers, each shown on the real service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CorruptRecordException, KafkaError

from runtime.kafka_tasks import stopped
from tests.support.saboteurs.kafka import Api, KafkaProxy, Rule, failed_commit, no_topics
from tests.support.saboteurs.postgres import Lost, PostgresProxy
from tests.support.saboteurs.standby import address, make_synchronous, pair
from tests.support.streams import plain_stream, publish

SECONDS = 20


@asynccontextmanager
async def consumer_of(bootstrap: str, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=f"group-{topic}",
        enable_auto_commit=False,
        auto_offset_reset="none",
        request_timeout_ms=2_000,
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        consumer.seek(TopicPartition(topic, 0), 0)  # else it asks for the committed offset, at a time of its own
        yield consumer
    finally:
        await stopped(consumer)


async def commit(consumer: AIOKafkaConsumer, offset: int = 1) -> None:
    [partition] = consumer.assignment()
    await asyncio.wait_for(consumer.commit({partition: offset}), SECONDS)


@pytest.mark.apache_kafka
async def test_a_client_behind_a_proxy_stays_behind_it(kafka_bootstrap: str, topic: str) -> None:
    with KafkaProxy(kafka_bootstrap) as proxy:
        async with consumer_of(proxy.address, topic) as consumer:
            await commit(consumer)
            proxy.manners = "refuse"
            assert proxy.cut() >= 2  # to the broker, and to the group's coordinator
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(commit(consumer), 2)
            assert proxy.counts["refused"] >= 1
            proxy.manners = "serve"
            await commit(consumer)


@pytest.mark.apache_kafka
async def test_a_group_that_is_being_loaded_names_no_topic(kafka_bootstrap: str, topic: str) -> None:
    """What aiokafka makes of it: an error of the group is taken for a group that never committed."""
    [partition] = [TopicPartition(topic, 0)]
    with KafkaProxy(kafka_bootstrap) as proxy:
        async with consumer_of(proxy.address, topic) as consumer:
            await commit(consumer, 5)
            rule = proxy.answer(Api.OFFSET_FETCH, no_topics(14), times=1)
            assert await consumer.committed(partition) is None
            assert rule.happened == 1
            assert await consumer.committed(partition) == 5


@pytest.mark.apache_kafka
@pytest.mark.parametrize(
    "tamper",
    [
        lambda proxy: proxy.swallow(Api.OFFSET_COMMIT, times=1),
        lambda proxy: proxy.sever(Api.OFFSET_COMMIT, times=1),
        lambda proxy: proxy.answer(Api.OFFSET_COMMIT, failed_commit(7), times=1),
    ],
    ids=["swallowed", "severed", "failed"],
)
async def test_a_commit_is_kept_from_the_broker_or_its_answer_from_the_client(
    kafka_bootstrap: str, topic: str, tamper: Callable[[KafkaProxy], Rule]
) -> None:
    with KafkaProxy(kafka_bootstrap) as proxy:
        async with consumer_of(proxy.address, topic) as consumer:
            rule = tamper(proxy)
            try:
                await commit(consumer)
            except KafkaError:
                await commit(consumer)  # the client doesn't try again by itself after every error
            assert rule.happened == 1


@pytest.mark.apache_kafka
async def test_a_flipped_bit_in_a_fetched_record_is_a_wrong_checksum(kafka_bootstrap: str, topic: str) -> None:
    await publish(kafka_bootstrap, topic, plain_stream(1, seed=1, topic=topic), partition=0)
    with KafkaProxy(kafka_bootstrap) as proxy:
        rule = proxy.corrupt(b"ce_specversion")
        async with consumer_of(proxy.address, topic) as consumer:
            with pytest.raises(CorruptRecordException):
                await asyncio.wait_for(consumer.getmany(timeout_ms=5_000), SECONDS)
            assert rule.happened == 1


@asynccontextmanager
async def behind(proxy: PostgresProxy, url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url.replace(address(url), proxy.address))
    try:
        yield connection
    finally:
        connection.terminate()
        await asyncio.sleep(0)


@pytest.mark.parametrize(("lost", "rows"), [("request", 0), ("reply", 1)])
async def test_a_lost_commit_is_in_or_not_and_its_client_cannot_know(database_url: str, lost: Lost, rows: int) -> None:
    observer = await asyncpg.connect(database_url)
    await observer.execute("CREATE TABLE written (a integer)")
    with PostgresProxy(address(database_url)) as proxy:
        async with behind(proxy, database_url) as connection:
            async with connection.transaction():
                await connection.execute("SELECT 1")  # an ordinary commit passes
            proxy.lose(lost)
            with pytest.raises((ConnectionError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
                async with connection.transaction():
                    await connection.execute("INSERT INTO written VALUES (1)")
        assert proxy.counts == {"connections": 1, "commits": 2, "reply lost" if rows else "request lost": 1}
        async with behind(proxy, database_url) as connection, connection.transaction():
            await connection.execute("SELECT 1")
    assert await observer.fetchval("SELECT count(*) FROM written") == rows
    await observer.close()


async def test_a_synchronous_standby_has_what_the_primary_said_was_committed() -> None:
    with pair() as both:
        await make_synchronous(both)
        primary = await asyncpg.connect(both.primary.url())
        await primary.execute("CREATE TABLE written AS SELECT generate_series(1, 1000) AS a")
        standby = await asyncpg.connect(both.standby.url())
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await standby.execute("DELETE FROM written")
        both.primary.kill9()
        await both.promote()
        assert await standby.fetchval("SELECT count(*) FROM written") == 1000
        await standby.execute("DELETE FROM written")
        await standby.close()
        primary.terminate()
