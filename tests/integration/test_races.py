"""Two writers at once: what the compare-and-sets are for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from consumer import checkpoints
from consumer.checkpoints import Place
from consumer.processor import Processor
from consumer.projection import Projection
from consumer.read_models import READ_MODELS
from consumer.reference import Event
from schemas.errors import OutOfPlace
from schemas.events import Decoded
from schemas.wire import decode
from testkit.deadline import eventually
from tests.support.engine import COPIED, TOPIC, Engine, attributes, copied_from, engine, placed


@pytest.fixture(params=[1, COPIED], ids=["copied", "in one statement"], autouse=True)
def both_ways(request: pytest.FixtureRequest) -> Iterator[None]:
    """Batches as large ones are written, and as small ones."""
    with copied_from(request.param):
        yield


@pytest_asyncio.fixture
async def fed(database_url: str) -> AsyncIterator[Engine]:
    async with engine(database_url) as made:
        yield made


class Meeting(Projection):
    """A projection that waits for another one at the same point, so that both have read before either writes."""

    def __init__(self, parties: asyncio.Barrier) -> None:
        super().__init__(READ_MODELS)
        self._parties = parties
        self._met = False

    async def _decide(self, *arguments: Any, **more: Any) -> Any:
        decided = await super()._decide(*arguments, **more)
        if not self._met:
            self._met = True
            await self._parties.wait()
        return decided


async def at_once(fed: Engine, *batches: Iterable[Decoded]) -> list[BaseException]:
    """Apply batches of different partitions by processors that have all read before one writes; their retries."""
    await fed.take()
    parties, retries = asyncio.Barrier(len(batches)), []

    async def one(batch: list[Decoded]) -> None:
        worker = Processor(fed.pool, Meeting(parties), on_retry=lambda error, _: retries.append(error))
        places = {Place(item.record.topic, item.record.partition) for item in batch}
        await worker.process(batch, {place: fed.holds[place] for place in places})

    async with asyncio.timeout(20):
        await asyncio.gather(*(one(list(batch)) for batch in batches))
    return retries


def decoded(fed: Engine, partition: int) -> list[Decoded]:
    return [decode(record) for record in fed.logs[partition]]


@pytest.mark.parametrize("order", ["new", "there"])
async def test_an_event_parked_while_its_hole_is_filled_is_not_stranded(fed: Engine, order: str) -> None:
    first = placed("a")
    filler, late = attributes("a", 2, "order.confirmed"), attributes("a", 3, "order.delivered")
    if order == "there":
        fed.send(first, partition=2)
        await fed.run()
        fed.send(filler, partition=0)
    else:
        fed.send(first, filler, partition=0)
    fed.send(late, partition=1)
    retries = await at_once(fed, decoded(fed, 0), decoded(fed, 1))
    assert len(retries) == 1
    assert await fed.differences([Event(first), Event(filler), Event(late)]) == []


async def test_a_batch_that_loses_one_of_its_orders_is_run_again_as_a_whole(fed: Engine) -> None:
    """Its other orders, its ledger rows and its sums have gone with the transaction."""
    mine, theirs = [placed("a"), placed("b", customer="c-2"), placed("c")], [attributes("b", 2, "order.confirmed")]
    fed.send(*mine, partition=0)
    fed.send(*theirs, partition=1)
    await at_once(fed, decoded(fed, 0), decoded(fed, 1))
    assert await fed.differences([Event(event) for event in [*mine, *theirs]]) == []


async def test_the_same_event_through_two_workers_counts_once(fed: Engine) -> None:
    event = placed("a")
    fed.send(event, partition=0)
    fed.send(event, partition=1)
    retries = await at_once(fed, decoded(fed, 0), decoded(fed, 1))
    assert len(retries) == 1
    assert await fed.differences([Event(event), Event(event)]) == []


async def test_two_events_for_one_version_through_two_workers_leave_one_and_a_letter(fed: Engine) -> None:
    fed.send(placed("a", id_="x"), partition=0)
    fed.send(placed("a", id_="y", customer="c-2"), partition=1)
    await at_once(fed, decoded(fed, 0), decoded(fed, 1))
    winner = await fed.value("SELECT event_id FROM projector.processed_events")
    assert await fed.value("SELECT event_id FROM projector.dead_letters WHERE reason = 'version_conflict'") != winner
    assert await fed.value("SELECT sum(orders) FROM read_model.customer_summary") == 1


async def test_an_erasure_beside_an_event_leaves_no_trace(fed: Engine) -> None:
    fed.send(placed("a"), partition=2)
    await fed.run()
    fed.append(None, key=b"a", partition=0)
    fed.send(attributes("a", 2, "order.confirmed"), partition=1)
    await at_once(fed, decoded(fed, 0), decoded(fed, 1))
    assert await fed.value("SELECT count(*) FROM projector.ledger") == 0
    assert await fed.value("SELECT count(*) FROM read_model.customer_summary") == 0


async def test_an_erasure_beside_a_broken_record_of_that_order_leaves_no_bytes_of_it(fed: Engine) -> None:
    fed.append(None, key=b"a", partition=0)
    fed.append(b'{"customer": "Na', key=b"a", partition=1)
    await at_once(fed, decoded(fed, 0), decoded(fed, 1))
    assert await fed.value("SELECT count(*) FROM projector.dead_letters") == 0


async def test_of_two_owners_only_the_newer_one_can_commit(fed: Engine) -> None:
    fed.send(placed("a"))
    await fed.take()
    old = dict(fed.holds)
    await fed.take()
    with pytest.raises(OutOfPlace):
        await fed.apply(fed.logs[0], old)
    assert await fed.value("SELECT count(*) FROM projector.ledger") == 0
    await fed.apply(fed.next_batch())
    assert await fed.differences([Event(placed("a"))]) == []


async def test_a_batch_is_refused_where_the_checkpoint_no_longer_stands(fed: Engine) -> None:
    fed.send(placed("a"), placed("b"))
    await fed.take()
    old = dict(fed.holds)
    await fed.apply(fed.next_batch(1))
    with pytest.raises(OutOfPlace):  # the same epoch, but the place has moved
        await fed.apply(fed.logs[0], old)
    assert await fed.value("SELECT next_offset FROM projector.checkpoints") == 1


async def test_workers_on_the_same_orders_in_opposite_orders_never_deadlock(fed: Engine) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    luck = random.Random(seed)
    orders = [f"o-{number}" for number in range(60)]
    sent = [placed(order, customer=f"c-{place % 3}") for place, order in enumerate(orders)]
    sent += [attributes(order, 2, "order.confirmed") for order in orders]
    for partition in range(4):  # every event through every worker, each in an order of its own
        fed.send(*luck.sample(sent, len(sent)), partition=partition)
    await fed.take()
    retries: list[BaseException] = []

    async def worker(partition: int) -> None:
        processor = Processor(fed.pool, Projection(READ_MODELS), on_retry=lambda error, _: retries.append(error))
        place = Place(TOPIC, partition)
        holds = {place: fed.holds[place]}
        while batch := decoded(fed, partition)[holds[place].next_offset :][:30]:
            _, holds = await processor.process(batch, holds)

    async with asyncio.timeout(60):
        await asyncio.gather(*map(worker, range(4)))
    assert [error for error in retries if "40P01" in str(error)] == []
    assert await fed.differences([Event(event) for event in sent]) == []


async def test_a_connection_lost_in_the_middle_runs_the_batch_again(fed: Engine) -> None:
    fed.send(placed("a"))
    await fed.take()
    killed: list[bool] = []

    class Killed(Projection):
        async def apply(self, connection: Any, *arguments: Any, **more: Any) -> Any:
            outcome = await super().apply(connection, *arguments, **more)
            if not killed:
                killed.append(True)
                pid = await connection.fetchval("SELECT pg_backend_pid()")
                await fed.value("SELECT pg_terminate_backend($1, 5000)", pid)
            return outcome

    fed.processor = Processor(fed.pool, Killed(READ_MODELS), on_retry=lambda error, _: fed.retries.append(error))
    await fed.apply(fed.next_batch())
    assert [type(error).__name__ for error in fed.retries] == ["Unavailable"]
    assert await fed.differences([Event(placed("a"))]) == []


async def test_a_lock_held_by_a_human_is_waited_out_and_never_a_dead_letter(database_url: str) -> None:
    impatient = {"lock_timeout": "50ms"}
    async with asyncpg.create_pool(database_url, min_size=1, max_size=3, server_settings=impatient) as pool:
        fed = Engine(pool)
        fed.send(placed("a"))
        await fed.take()
        human = await asyncpg.connect(database_url)
        try:
            transaction = human.transaction()
            await transaction.start()
            await human.execute("LOCK TABLE projector.ledger IN ACCESS EXCLUSIVE MODE")
            at_work = asyncio.ensure_future(fed.apply(fed.next_batch()))
            await eventually(lambda: len(fed.retries) > 1 or at_work.done())
            assert not at_work.done()
            await transaction.rollback()
            await at_work
        finally:
            await human.close()
        assert {str(error) for error in fed.retries} == {"PostgreSQL: SQLSTATE 55P03"}
        assert await fed.differences([Event(placed("a"))]) == []


async def test_taking_partitions_raises_the_epoch_and_keeps_the_place(fed: Engine) -> None:
    place = Place(TOPIC, 0)
    async with fed.pool.acquire() as connection:
        first = await checkpoints.take(connection, {place: 17}, "one")
        second = await checkpoints.take(connection, {place: 99}, "two")
    assert (first[place].next_offset, second[place].next_offset) == (17, 17)
    assert second[place].epoch == first[place].epoch + 1
    assert second[place].shard == first[place].shard > 0
