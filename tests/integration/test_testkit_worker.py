"""The worker beside the test: it is really cut off, really waited for, and its failure is really told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer

from consumer import checkpoints
from consumer.checkpoints import Move
from consumer.read_models import READ_MODELS
from consumer.worker import Worker
from schemas.connection import Connection
from schemas.errors import Refused
from testkit.deadline import eventually
from testkit.delivery import Restart, deliver_badly
from testkit.events import Order, some_orders
from testkit.loop import LoopThread
from testkit.running import RunningWorker, running, worker_of
from testkit.truth import assert_true


@pytest.fixture(scope="module")
def worker_settings() -> Mapping[str, Any]:
    return {"batch_size": 20}


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    made = LoopThread()
    yield made
    made.close()


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_is_lost_and_nothing_counted_twice_over_restarts(
    projector_worker: RunningWorker, database: Connection, seed: int
) -> None:
    events = some_orders(40, seed)
    deliveries = deliver_badly(events, seed)
    await projector_worker.deliver(deliveries)
    assert projector_worker.restarts >= 3  # two were cut off, and at least the last one after them died at a commit
    assert projector_worker.settings.batch_size == 20
    await assert_true(database, deliveries)


async def test_a_restart_kills_on_the_side_of_the_commit_that_was_asked_for(
    projector_worker: RunningWorker, database: Connection
) -> None:
    order = Order()
    await projector_worker.deliver([Restart("before"), order.placed()])
    assert (projector_worker.restarts, projector_worker.counts["applied"]) == (2, 1)  # once more, by the third worker
    await projector_worker.deliver([Restart("after"), order.confirmed()])
    assert (projector_worker.restarts, projector_worker.counts["applied"]) == (4, 1)  # the second died telling nobody
    assert await database.fetchval("SELECT version FROM read_model.order_summary") == 2


async def test_an_engine_that_loses_a_batch_in_a_crash_is_found_out(
    projector_worker: RunningWorker, database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = checkpoints.advance

    async def in_another_transaction(connection: Connection, moves: list[Move]) -> None:
        await whole(connection, moves)
        await connection.execute("COMMIT; BEGIN")

    monkeypatch.setattr(checkpoints, "advance", in_another_transaction)
    events = some_orders(40, 1)
    await projector_worker.deliver(deliver_badly(events, 1, duplicates=0))
    with pytest.raises(AssertionError, match="not there"):
        await assert_true(database, events)


async def test_who_waits_in_vain_is_told_where_it_stands(
    projector_worker: RunningWorker, database: Connection, topic: str
) -> None:
    async with database.transaction():
        await database.execute("LOCK TABLE projector.orders IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(AssertionError, match=rf"topic='{topic}', partition=\d+\): \(0, 1\)"):
            await projector_worker.deliver([Order().placed()], timeout=1)
    await projector_worker.caught_up()


async def test_a_worker_that_fails_tells_who_waits_for_it(
    kafka_bootstrap: str, database_url: str, database: Connection, topic: str, loop: LoopThread
) -> None:
    places = {"kafka_bootstrap_servers": kafka_bootstrap, "database_url": database_url, "topics": (topic,)}
    worker = worker_of(loop, READ_MODELS, places)
    with running(worker):
        await database.execute("ALTER TABLE projector.orders RENAME TO gone")
        with pytest.raises(Refused):
            await worker.deliver([Order().placed()])


async def test_a_failure_that_nobody_saw_is_raised_in_the_end(
    kafka_bootstrap: str, database_url: str, database: Connection, topic: str, loop: LoopThread
) -> None:
    places = {"kafka_bootstrap_servers": kafka_bootstrap, "database_url": database_url, "topics": (topic,)}
    worker = worker_of(loop, READ_MODELS, places)

    async def unseen() -> None:
        with running(worker):
            await database.execute("ALTER TABLE projector.orders RENAME TO gone")
            async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
                await producer.send_and_wait(topic, b"not an event", key=b"o-1")
            await eventually(worker._serving.done, timeout=20)

    with pytest.raises(Refused):
        await unseen()


class Stubborn(Worker):
    """Goes on, however often it is cancelled."""

    async def run(self, stop: asyncio.Event) -> None:
        working = asyncio.ensure_future(super().run(stop))
        while not working.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([working])
        await working


async def test_who_cuts_off_a_worker_that_goes_on_waits_as_long_as_was_said(
    kafka_bootstrap: str, database_url: str, topic: str, loop: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("testkit.running.Worker", Stubborn)
    places = {"kafka_bootstrap_servers": kafka_bootstrap, "database_url": database_url, "topics": (topic,)}
    worker = worker_of(loop, READ_MODELS, places)
    with running(worker), pytest.raises(AssertionError, match="goes on though it was cut off"):
        await asyncio.wait_for(worker.deliver([Restart()], timeout=0.5), 20)


class DyingLast(Worker):
    """Comes to its commit when it is told to stop: dies there if that was armed, or by itself."""

    async def run(self, stop: asyncio.Event) -> None:
        await super().run(stop)
        raise RuntimeError(f"failpoint {self._failpoints.armed[0]}" if self._failpoints.armed else "by itself")


async def end(worker: RunningWorker, *, armed: bool) -> None:
    with running(worker):
        if armed:
            await worker.restart()


async def test_a_worker_that_was_armed_to_die_may_do_so_in_the_end(
    kafka_bootstrap: str, database_url: str, topic: str, loop: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("testkit.running.Worker", DyingLast)
    places = {"kafka_bootstrap_servers": kafka_bootstrap, "database_url": database_url, "topics": (topic,)}
    await end(worker_of(loop, READ_MODELS, places), armed=True)
    with pytest.raises(RuntimeError, match="by itself"):
        await end(worker_of(loop, READ_MODELS, places), armed=False)


def test_a_setting_that_is_none_is_refused(loop: LoopThread) -> None:
    with pytest.raises(TypeError, match="no such settings of a worker: batchsize"):
        worker_of(loop, READ_MODELS, {"topics": ("t",), "batchsize": 5})
