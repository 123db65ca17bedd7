"""The write side under faults: slow writers, some of which roll back, relays that are killed, a broker that is away.

What was committed is in the topic, what rolled back is not; the first copies of an order's events are in version order;
and the read models show every order as its commands left it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from random import Random
from typing import Any

import pytest

from producer.answers import Accepted, Refused
from runtime.embedded.apache_kafka import ApacheKafka
from runtime.kafka import ensure_topics
from schemas.errors import LostRace
from schemas.events import Event
from schemas.wire import decode
from testkit.deadline import eventually
from tests.integration.test_relay import records
from tests.support.commands import command, place
from tests.support.fleet import Fleet, Member, fleet, projector
from tests.support.write_side import Till, settings_of, shown, till

TOPIC = "orders.events"
WRITERS, ROUNDS = 8, 40
POINTS = ("relay_before_send", "relay_after_send", "relay_before_mark")
STEPS = ("confirm", "pay", "ship", "fail_delivery", "ship", "deliver")


class RolledBack(Exception):
    """A writer's change of mind."""


class Relays:
    """Two relay processes, each of which dies at one point or another and is started again."""

    def __init__(self, shop: Fleet, random: Random) -> None:
        self._shop = shop
        self._random = random
        self.kills: dict[str, int] = dict.fromkeys(POINTS, 0)
        self._ends = False

    async def keep(self) -> None:
        await asyncio.gather(self._one(), self._one())

    def enough(self) -> bool:
        """Whether relays were killed everywhere."""
        return all(self.kills.values())

    def heal(self) -> None:
        """From now on none dies any more."""
        self._ends = True

    async def _one(self) -> None:
        while not self._ends:
            point = self._random.choice(POINTS)
            strikes = {"PROJECTOR_FAILPOINTS": f"{point}=kill9:{self._random.randrange(1, 6)}"}
            member = Member((*self._shop.program, "relay"), {**self._shop.settings, **strikes})
            try:
                await self._life(member, point)
            finally:
                member.close()

    async def _life(self, member: Member, point: str) -> None:
        await eventually(lambda: member.code is not None or self._ends, 300)
        if member.code is None:
            member.signal(signal.SIGTERM)
            await member.ended(20)
        elif f'"point":"{point}"' in member.said():
            self.kills[point] += 1
        else:
            raise AssertionError(f"a relay ended with {member.code}:\n{member.said()[-4000:]}")


async def write(
    shop: Till, name: str, random: Random, committed: set[tuple[str, int]], enough: Callable[[], bool]
) -> None:
    """Orders from placement to wherever they get, each command in a transaction that takes its time to commit."""
    for n in count():
        if n >= ROUNDS and enough():
            break
        order = f"{name}-{n}"
        for kind in ("place", *STEPS[: random.randrange(len(STEPS) + 1)]):
            while True:
                try:
                    answer = await attempt(shop, order, kind, random)
                except (RolledBack, LostRace):
                    continue
                break
            committed.add((order, answer.version))


async def attempt(shop: Till, order: str, kind: str, random: Random) -> Accepted:
    async with shop.pool.acquire() as session, session.transaction():
        data = place(f"c-{random.randrange(5)}") if kind == "place" else ...
        answer = await shop.handler.execute(session, command(kind, order, data))
        assert isinstance(answer, Accepted), answer
        await asyncio.sleep(random.random() * 0.05)
        if random.random() < 0.05:
            raise RolledBack
        return answer


@asynccontextmanager
async def relay(shop: Fleet) -> AsyncIterator[Member]:
    """One that nothing happens to."""
    member = Member((*shop.program, "relay"), shop.settings)
    try:
        await eventually(lambda: '"event":"relay_started"' in member.said(), 30)  # before, a signal just ends it
        yield member
        assert member.code is None, member.said()[-4000:]
        member.signal(signal.SIGTERM)
        assert await member.ended(20) == 0
    finally:
        member.close()


@pytest.mark.timeout(420)
async def test_slow_writers_killed_relays_and_a_broker_that_is_away(
    database_url: str, breakable_kafka: ApacheKafka
) -> None:
    seed = int(os.environ.get("FAULT_SEED", "7"))
    random = Random(seed)
    bootstrap = breakable_kafka.bootstrap()
    settings = settings_of(database_url, bootstrap, TOPIC)
    await ensure_topics(settings, [TOPIC], 6)
    committed: set[tuple[str, int]] = set()
    async with till(database_url, size=WRITERS + 2) as shop, fleet(bootstrap, database_url, TOPIC) as workers:
        workers.start()
        relays = Relays(workers, random)
        keeping: asyncio.Future[None] = asyncio.ensure_future(relays.keep())
        writing: asyncio.Future[Any] = asyncio.gather(
            *(write(shop, f"o-{n}", Random(random.random()), committed, relays.enough) for n in range(WRITERS))
        )
        await eventually(lambda: len(committed) > 300, 60)
        breakable_kafka.kill9()
        went_on = len(committed)
        await eventually(lambda: len(committed) > went_on + 200 or writing.done(), 60)
        assert breakable_kafka.start() == bootstrap
        both: list[asyncio.Future[Any]] = [keeping, writing]
        await asyncio.wait(both, timeout=180, return_when=asyncio.FIRST_COMPLETED)
        assert writing.done(), (relays.kills, keeping)
        relays.heal()
        await asyncio.wait_for(keeping, 60)
        async with relay(workers):
            await shown(shop.pool, 120)
        assert await workers.stop() == [0]
        found = [event for event in map(decode, await records(settings)) if isinstance(event, Event)]
        rows = await shop.fetch("SELECT aggregateid, sequence, id::text FROM write_model.outbox")
    assert {(row["aggregateid"], row["sequence"]) for row in rows} == committed
    assert {event.id for event in found} == {row["id"] for row in rows}
    firsts: dict[str, list[int]] = {}
    for event in found:  # partition by partition, and an order is in one
        seen = firsts.setdefault(event.order_id, [])
        if event.version not in seen:
            seen.append(event.version)
    assert {order: sorted(seen) for order, seen in firsts.items()} == firsts
    print(f"seed {seed}: {len(committed)} events, {len(found) - len(committed)} sent again, kills {relays.kills}")
    assert len(found) > len(committed)  # else nothing was tested: a relay that died after its send sends again


async def test_a_relay_at_the_start_says_what_is_missing(empty_database_url: str, kafka_bootstrap: str) -> None:
    async with fleet(kafka_bootstrap, empty_database_url, "no.such.topic") as none:
        member = Member((*none.program, "relay"), none.settings)
        try:
            assert await member.ended() == 2
            assert "run `projector migrate`" in member.said()
        finally:
            member.close()


async def test_sagas_run_as_a_process_and_show_an_orders_history(database_url: str, kafka_bootstrap: str) -> None:
    async with till(database_url) as shop, fleet(kafka_bootstrap, database_url, "unused") as none:
        member = Member((*none.program, "sagas"), none.settings)
        try:
            await shop.tell("o-1", "place", "confirm", "fail_payment")

            async def cancelled() -> bool:
                state = await shop.order("o-1")
                return state is not None and state.status == "cancelled"

            await eventually(cancelled, 30)
            member.signal(signal.SIGTERM)
            assert await member.ended() == 0
        finally:
            member.close()
        shown_history = await projector("sagas", "--order", "o-1", DATABASE_URL=database_url)
        assert shown_history.code == 0, shown_history.err
        assert "order.payment_failed: awaiting_payment → compensating  (cancel made version 4)" in shown_history.out
        told = json.loads((await projector("sagas", "--order", "o-1", "--json", DATABASE_URL=database_url)).out)
        assert [step["after"] for step in told["steps"]] == ["awaiting_payment", "compensating", "ended"]
        assert told["standing"]["stage"] == "ended"
        assert (await projector("sagas", "--order", "nobody's", DATABASE_URL=database_url)).code == 1
        assert isinstance(await shop.ask("confirm", "o-1"), Refused)
