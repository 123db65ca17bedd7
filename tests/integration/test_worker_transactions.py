"""Transactional producers: what they take back is never applied, and the markers they leave hold nothing up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer

from consumer import freshness
from producer.simulation import Delivery
from runtime.settings import Settings
from schemas.connection import Connection
from testkit.deadline import eventually
from testkit.plugin import MakeTopic
from tests.support.events import record
from tests.support.fleet import settings_for, working
from tests.support.streams import deliveries_of, send

pytestmark = pytest.mark.apache_kafka


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@asynccontextmanager
async def transactional(bootstrap: str, name: str) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=name) as producer:
        yield producer


async def in_transaction(
    producer: AIOKafkaProducer, topic: str, deliveries: Sequence[Delivery], *, abort: bool = False
) -> None:
    await producer.begin_transaction()
    await send(producer, topic, deliveries, partition=0)
    await (producer.abort_transaction() if abort else producer.commit_transaction())


def order(name: str) -> list[Delivery]:
    return deliveries_of([record(order=name), record(type_="confirmed", version=2, order=name)])


async def applied(database: Connection) -> set[str]:
    rows = await database.fetch("SELECT order_id FROM read_model.order_summary WHERE version = 2")
    return {row["order_id"] for row in rows}


async def test_what_was_aborted_is_never_applied_and_the_rest_is(
    kafka_bootstrap: str, database_url: str, make_topic: MakeTopic, database: Connection
) -> None:
    topic = await make_topic(partitions=1)
    async with transactional(kafka_bootstrap, topic) as producer:
        await in_transaction(producer, topic, order("kept"))
        await in_transaction(producer, topic, order("taken-back"), abort=True)
        await in_transaction(producer, topic, order("kept-too"))
        async with working(settings_for(kafka_bootstrap, database_url, topic)):
            await eventually(lambda: _is(database, {"kept", "kept-too"}))
            await in_transaction(producer, topic, order("later"))
            await eventually(lambda: _is(database, {"kept", "kept-too", "later"}))
    assert await database.fetchval("SELECT count(*) FROM projector.processed_events") == 6
    assert await database.fetchval("SELECT count(*) FROM projector.dead_letters") == 0


@pytest.mark.parametrize("abort", [False, True], ids=["commit", "abort"])
async def test_a_marker_at_the_end_of_the_log_is_no_lag(
    kafka_bootstrap: str, database_url: str, make_topic: MakeTopic, database: Connection, abort: bool
) -> None:
    topic = await make_topic(partitions=2)
    settings = settings_for(kafka_bootstrap, database_url, topic)
    async with transactional(kafka_bootstrap, topic) as producer:
        await in_transaction(producer, topic, order("first"))
        await in_transaction(producer, topic, order("last"), abort=abort)
    async with working(settings):
        await eventually(lambda: _is(database, {"first"} if abort else {"first", "last"}))
        await eventually(lambda: _lag(database, settings, 0))


async def test_an_open_transaction_holds_back_its_own_records_and_no_others_before_it(
    kafka_bootstrap: str, database_url: str, make_topic: MakeTopic, database: Connection
) -> None:
    topic = await make_topic(partitions=1)
    async with transactional(kafka_bootstrap, topic) as producer:
        await in_transaction(producer, topic, order("before"))
        await producer.begin_transaction()
        await send(producer, topic, order("open"), partition=0)
        settings = settings_for(kafka_bootstrap, database_url, topic)
        async with working(settings):
            await eventually(lambda: _is(database, {"before"}))
            await eventually(lambda: _lag(database, settings, 0))  # nothing that anybody could apply
            await producer.commit_transaction()
            await eventually(lambda: _is(database, {"before", "open"}))


async def _lag(database: Connection, settings: Settings, expected: int) -> bool:
    found = await freshness.status(database, settings)
    assert found.lag == expected, found
    return True


async def _is(database: Connection, expected: set[str]) -> bool:
    found = await applied(database)
    assert found == expected, found
    return True
