"""SIGTERM is obeyed in time, though the broker doesn't answer. What else may happen to a broker: tests/faults."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient

from runtime.embedded.tansu import TansuBroker
from testkit.deadline import eventually
from testkit.topics import create_topic
from tests.support.fleet import fleet
from tests.support.streams import publish, stream


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
