"""Kafka and PostgreSQL go away under a working fleet and come back: the work goes on where it stood."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from runtime.embedded.apache_kafka import ApacheKafka
from runtime.embedded.postgres import EmbeddedPostgres
from runtime.embedded.tansu import TansuBroker
from testkit.databases import apply_migrations
from testkit.deadline import eventually
from testkit.topics import create_topic
from tests.support.fleet import fleet, stands
from tests.support.streams import demo_stream, differences, publish, stream

SMALL = {"PROJECTOR_BATCH_SIZE": 50}


@pytest.fixture
def breakable_postgres() -> Iterator[EmbeddedPostgres]:
    """A durable PostgreSQL of the test's own, to kill and restart."""
    with tempfile.TemporaryDirectory(prefix="projector-test-") as directory:
        server = EmbeddedPostgres()
        server.start(Path(directory) / "postgres")
        yield server
        server.stop()


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """An address that takes connections and never says a word, as a frozen broker does."""
    connected: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: connected.append(writer), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"{host}:{port}"
    finally:
        for writer in connected:
            writer.close()
        server.close()
        await server.wait_closed()


async def kafka_topic(bootstrap: str) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        return await create_topic(admin, 12)
    finally:
        await admin.close()


@pytest.mark.apache_kafka
async def test_a_broker_killed_in_the_middle_and_started_again_loses_nothing(
    breakable_kafka: ApacheKafka, database_url: str
) -> None:
    bootstrap = breakable_kafka.bootstrap()
    topic = await kafka_topic(bootstrap)
    sent = demo_stream(200, topic=topic).shuffled(seed=1)
    first, rest = sent.halves()
    async with fleet(bootstrap, database_url, topic, **SMALL) as workers:
        one, two = workers.start(), workers.start()
        await workers.shared_by(one, two)
        await publish(bootstrap, topic, first)
        breakable_kafka.kill9()
        await eventually(lambda: "Kafka" in one.said() or "aiokafka" in one.said())  # they have noticed
        assert breakable_kafka.start() == bootstrap
        await workers.caught_up(await publish(bootstrap, topic, rest))
        assert await differences(workers.connection, sent.settled()) == []
        assert await workers.stop() == [0, 0]


async def test_a_database_killed_in_the_middle_and_started_again_loses_nothing(
    breakable_postgres: EmbeddedPostgres, kafka_bootstrap: str, topic: str
) -> None:
    url = breakable_postgres.url()
    await apply_migrations(url)
    sent = demo_stream(200, topic=topic).shuffled(seed=2)
    async with fleet(kafka_bootstrap, url, topic, **SMALL) as workers:
        await workers.shared_by(workers.start(), workers.start())
        ends = await publish(kafka_bootstrap, topic, sent)
        breakable_postgres.kill9()
        assert breakable_postgres.start() == url
        await workers.reconnect()
        assert await stands(workers.connection, ends) != ends  # it was in the middle
        await workers.caught_up(ends)
        assert await differences(workers.connection, sent.settled()) == []
        assert await workers.stop() == [0, 0]


async def test_sigterm_is_obeyed_in_time_while_the_broker_is_frozen(database_url: str) -> None:
    with TansuBroker() as broker:
        assert broker.process is not None
        topic = await kafka_topic(broker.bootstrap())
        async with fleet(broker.bootstrap(), database_url, topic) as workers:
            worker = workers.start()
            await workers.shared_by(worker)
            ends = await publish(broker.bootstrap(), topic, stream(20, seed=1, topic=topic))
            await workers.caught_up(ends)
            broker.process.send(signal.SIGSTOP)
            worker.signal(signal.SIGTERM)
            began = time.monotonic()
            try:
                assert await worker.ended() == 0
                assert time.monotonic() - began < 10
            finally:
                broker.process.send(signal.SIGCONT)


async def test_sigterm_is_obeyed_in_time_by_a_worker_whose_broker_never_answered(database_url: str) -> None:
    async with silent_server() as address, fleet(address, database_url, "any") as workers:
        worker = workers.start()
        await eventually(lambda: "worker_started" in worker.said())
        worker.signal(signal.SIGTERM)
        began = time.monotonic()
        assert await worker.ended() == 0
        assert time.monotonic() - began < 10
