"""Letters tried again while the fleet is at work on the same orders: no effect twice, no event stranded."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

import consumer.letters
from consumer.checkpoints import Place
from consumer.discard import discard
from consumer.letters import Selection
from consumer.processor import Processor
from consumer.projection import Projection
from consumer.read_models import READ_MODELS
from consumer.redelivery import Redelivery, Retried
from consumer.reference import Event, Tombstone
from schemas.events import Decoded
from schemas.wire import decode
from testkit.deadline import eventually
from tests.support.engine import TOPIC, Engine, attributes, engine, placed
from tests.support.redelivery import (
    BROKEN,
    MENDED,
    becomes,
    confirmed,
    fussy_engine,
    letters,
    of_version,
    retry,
    run_as_older,
)
from tests.support.redelivery import shipped as shipped_badly

Steps = Callable[..., Awaitable[Any]]


@pytest_asyncio.fixture
async def fed(database_url: str) -> AsyncIterator[Engine]:
    async with engine(database_url) as made:
        yield made


class Halting(Projection):
    """A projection that halts once where it is told to, until it may go on."""

    def __init__(self, where: str) -> None:
        super().__init__(READ_MODELS)
        self._where = where
        self.there, self.go_on = asyncio.Event(), asyncio.Event()

    async def prepare(self, *arguments: Any) -> None:
        await super().prepare(*arguments)
        await self.halt("before it has locked anything")

    async def _decide(self, *arguments: Any, **more: Any) -> Any:
        decided = await super()._decide(*arguments, **more)
        await self.halt("before it writes")
        return decided

    async def halt(self, where: str) -> None:
        if where == self._where and not self.go_on.is_set():
            self.there.set()
            await self.go_on.wait()


def live(fed: Engine, projection: Projection, retries: list[str]) -> Steps:
    """A worker that applies what follows on in the logs."""
    batch, holds = [decode(record) for record in fed.next_batch()], fed.holds
    places = {Place(item.record.topic, item.record.partition) for item in batch}
    processor = Processor(fed.pool, projection, on_retry=lambda error, _: retries.append(str(error)))
    return lambda: processor.process(batch, {place: holds[place] for place in places})


def again(fed: Engine, projection: Projection, retries: list[str]) -> Steps:
    """A retry of every letter, its first try through this projection."""
    first = iter([projection])

    def make() -> Projection:
        return next(first, None) or Projection(READ_MODELS)

    redelivery = Redelivery(
        fed.pool, make, "tester", execute=True, on_retry=lambda error, _: retries.append(str(error))
    )

    async def run() -> list[Retried]:
        return [one async for one in redelivery.run(Selection())]

    return run


async def overtaken(fed: Engine, slow: Halting, slow_steps: Steps, fast_steps: Steps) -> tuple[Any, Any]:
    """What the two return, if the fast one comes from behind and does all it can while the slow one halts."""
    async with asyncio.timeout(30):
        first = asyncio.ensure_future(slow_steps())
        await slow.there.wait()
        second = asyncio.ensure_future(fast_steps())

        async def done_or_in_a_queue() -> bool:
            return second.done() or bool(await fed.value(_WAITING))

        await eventually(done_or_in_a_queue)
        slow.go_on.set()
        return await asyncio.gather(first, second)


_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

HALTS = [
    ("live", "before it writes"),
    ("retry", "before it has locked anything"),
    ("retry", "when it has taken its letters"),
    ("retry", "before it writes"),
]


async def race(fed: Engine, halt: tuple[str, str]) -> None:
    """A retry of all letters against a worker with what is left in the logs."""
    await fed.take()
    who, where = halt
    retries: list[str] = []
    slow, fast = Halting(where), Projection(READ_MODELS)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("consumer.letters.take", halting(slow, "when it has taken its letters", consumer.letters.take))
        if who == "live":
            await overtaken(fed, slow, live(fed, slow, retries), again(fed, fast, retries))
        else:
            await overtaken(fed, slow, again(fed, slow, retries), live(fed, fast, retries))
    assert [text for text in retries if "40P01" in text] == [], "a deadlock"


def halting(slow: Halting, where: str, steps: Steps) -> Steps:
    """The same steps, and a halt after them."""

    async def both(*arguments: Any) -> None:
        await steps(*arguments)
        await slow.halt(where)

    return both


races = pytest.mark.parametrize("halt", HALTS, ids=" ".join)


@races
async def test_the_event_comes_again_while_its_letter_is_retried(fed: Engine, halt: tuple[str, str]) -> None:
    event = confirmed("a", 2)
    fed.send(placed("a"), event)
    await run_as_older(fed, of_version(2))
    fed.send(event, partition=1)
    await race(fed, halt)
    assert await fed.differences([Event(placed("a")), Event(event), Event(event)]) == []


@races
async def test_a_refused_event_comes_again_while_its_letter_is_retried(fed: Engine, halt: tuple[str, str]) -> None:
    """It is known by its letter all the time, though that is taken up in between."""
    early = confirmed("a", 1)
    fed.send(early)
    await fed.run()
    fed.send(early, partition=1)
    await race(fed, halt)
    assert await fed.differences([Event(early), Event(early)]) == []
    assert [(one["reason"], one["attempts"], one["resolution"]) for one in await letters(fed)] == [
        ("invalid_history", 2, None)
    ]


@races
async def test_the_version_is_taken_by_another_event_while_the_letter_is_retried(
    fed: Engine, halt: tuple[str, str]
) -> None:
    first, other = confirmed("a", 2, id_="first"), confirmed("a", 2, id_="other")
    fed.send(placed("a"), first, attributes("a", 3, "order.delivered"))
    await run_as_older(fed, of_version(2))
    fed.send(other, partition=1)
    await race(fed, halt)
    winner = await fed.value("SELECT event_id FROM projector.processed_events WHERE version = 2")
    [loser] = await fed.fetch("SELECT event_id, reason FROM projector.dead_letters WHERE resolved_at IS NULL")
    assert {winner, loser["event_id"]} == {"first", "other"}
    assert loser["reason"] == "version_conflict"
    assert await fed.value("SELECT version FROM read_model.order_summary") == 3


@races
async def test_the_hole_is_filled_while_the_retry_parks_its_event(fed: Engine, halt: tuple[str, str]) -> None:
    late, filler = confirmed("a", 3), confirmed("a", 2)
    fed.send(placed("a"), late)
    await run_as_older(fed, of_version(3))
    fed.send(filler, partition=1)
    await race(fed, halt)
    assert await fed.differences([Event(placed("a")), Event(late), Event(filler)]) == []


@races
async def test_an_event_is_parked_behind_the_letter_while_it_is_retried(fed: Engine, halt: tuple[str, str]) -> None:
    sent = [placed("a"), confirmed("a", 2), attributes("a", 3, "order.delivered")]
    fed.send(*sent[:2])
    await run_as_older(fed, of_version(2))
    fed.send(sent[2], partition=1)
    await race(fed, halt)
    assert await fed.differences([Event(event) for event in sent]) == []


@races
async def test_the_order_is_erased_while_its_letter_is_retried(fed: Engine, halt: tuple[str, str]) -> None:
    event = placed("a", customer="c-9")
    fed.send(event)
    await run_as_older(fed, of_version(1))
    fed.append(None, key=b"a", partition=1)
    await race(fed, halt)
    assert await fed.differences([Event(event), Tombstone("a")]) == []
    assert await letters(fed) == []


@races
async def test_the_order_is_erased_with_a_letter_that_is_retried(fed: Engine, halt: tuple[str, str]) -> None:
    """Erasure has to find the letter, and the retry the order: one waits for the other, and not both."""
    early = confirmed("a", 1)
    fed.send(early)
    await fed.run()
    fed.append(None, key=b"a", partition=1)
    await race(fed, halt)
    assert await fed.differences([Event(early), Tombstone("a")]) == []
    assert await letters(fed) == []


async def test_two_retries_at_once_apply_a_letter_once(fed: Engine) -> None:
    fed.send(placed("a"), confirmed("a", 2), placed("b"))
    await run_as_older(fed, lambda _: True)
    slow, retries = Halting("before it has locked anything"), list[str]()
    both = await overtaken(fed, slow, again(fed, slow, retries), again(fed, Projection(READ_MODELS), retries))
    assert sorted(fate.becomes for done in both for one in done for fate in one.letters) == ["applied"] * 3
    assert await fed.differences([Event(placed("a")), Event(confirmed("a", 2)), Event(placed("b"))]) == []


async def test_a_letter_discarded_while_it_is_retried_is_one_of_the_two(fed: Engine) -> None:
    fed.send(placed("a"), confirmed("a", 2))
    await run_as_older(fed, of_version(2))
    [letter] = await letters(fed)
    slow, retries = Halting("before it has locked anything"), list[str]()
    give_up = partial(discard, fed.pool, [letter["id"]], why="no use", by="tester", execute=True)
    retried, discarded = await overtaken(fed, slow, again(fed, slow, retries), give_up)
    assert (becomes(retried), [one.letter for one in discarded]) == ({}, [letter["id"]])
    [letter] = await letters(fed)
    assert (letter["resolution"], letter["resolution_note"]) == ("discarded", "no use")
    assert await fed.value("SELECT version FROM read_model.order_summary") == 1


async def test_a_fleet_at_work_beside_retries_leaves_what_was_meant(database_url: str) -> None:
    """Four workers, each with every event in an order of its own, one of them a release behind; and retries."""
    seed = random.randrange(2**32)
    print("seed", seed)
    luck = random.Random(seed)
    async with fussy_engine(database_url) as fed:
        orders = [f"o-{number}" for number in range(80)]
        sent = [placed(order, customer=f"c-{place % 3}") for place, order in enumerate(orders)]
        sent += [shipped_badly(order, 2) for order in orders] + [confirmed(order, 3) for order in orders]
        for partition in range(4):
            fed.send(*luck.sample(sent, len(sent)), partition=partition)
        await fed.take()
        retries: list[str] = []
        at_work = set(fed.logs)

        async def worker(partition: int) -> None:
            own = Projection(MENDED if partition else BROKEN)
            processor = Processor(fed.pool, own, on_retry=lambda error, _: retries.append(str(error)))
            place = Place(TOPIC, partition)
            holds = {place: fed.holds[place]}
            while batch := _rest(fed, partition, holds[place].next_offset):
                _, holds = await processor.process(batch, holds)
            at_work.remove(partition)

        async def retrying() -> None:
            while at_work:
                await retry(fed, models=MENDED)

        async with asyncio.timeout(120):
            await asyncio.gather(*map(worker, range(4)), retrying())
        await retry(fed, models=MENDED)
        assert [text for text in retries if "40P01" in text] == []
        assert await fed.differences([Event(event) for event in sent]) == []
        assert await fed.value("SELECT orders FROM read_model.fussy WHERE carrier = 'Bad & Co'") == 80


def _rest(fed: Engine, partition: int, start: int) -> Sequence[Decoded]:
    return [decode(record) for record in fed.logs[partition][start : start + 20]]
