"""One order mended while others write: nothing is lost, nothing counts twice, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from itertools import count
from random import Random
from typing import Any, TypeVar

import pytest
import pytest_asyncio

from consumer.rebuild import one_order as module
from testkit.deadline import eventually
from tests.support.engine import TOPIC, attributes, placed
from tests.support.mending import STATE, execute, mended, three_orders
from tests.support.rebuilding import Beside, Shop, Steps, rebuild
from tests.support.redelivery import confirmed
from tests.support.streams import demo_stream

T = TypeVar("T")


@pytest_asyncio.fixture
async def ours(database_url: str) -> AsyncIterator[Shop]:
    async with three_orders(database_url) as made:
        yield made


def beside_reading(monkeypatch: pytest.MonkeyPatch, at: Callable[[str], Awaitable[None]]) -> None:
    """`at` is called "before" and "after" all orders' states are read, each time that they are."""
    read = module._states

    async def states(*arguments: Any) -> Any:
        await at("before")
        async for state in read(*arguments):
            yield state
        await at("after")

    monkeypatch.setattr(module, "_states", states)


def once_while_reading(
    monkeypatch: pytest.MonkeyPatch, ours: Shop, moment: str, work: Callable[[], Coroutine[Any, Any, T]], lock: str
) -> list[asyncio.Task[T]]:
    """`work` begins before or after all orders' states are read for the first time; reading waits until it is done, or
    somebody in its database waits for such a lock. The task, once there is one."""
    waiting = (
        "SELECT count(*) FROM pg_locks JOIN pg_database AS d ON d.oid = database "
        f"WHERE NOT granted AND locktype = '{lock}' AND datname = current_database()"
    )
    begun: list[asyncio.Task[T]] = []

    async def done_or_waiting() -> bool:
        return begun[0].done() or await ours.fed.value(waiting) > 0

    async def at(now: str) -> None:
        if now == moment and not begun:
            begun.append(asyncio.create_task(work()))
            await eventually(done_or_waiting)

    beside_reading(monkeypatch, at)
    return begun


@pytest.mark.parametrize("seed", range(2))
async def test_while_its_customers_other_orders_are_written_nothing_is_lost(
    ours: Shop, database_url: str, seed: int
) -> None:
    """In many rounds: an order damaged, mended, and meanwhile a stream of its own customer's orders and of itself."""
    random = Random(seed)
    damages = ("status = 'odd'", "total = total + 7, refunded = 2", "customer_id = 'c-2'", "placed_at = NULL")

    async def others() -> int:
        for number in count():
            if mending.done():
                return number
            await ours.tell(placed(f"n-{number}"), confirmed(f"n-{number}", 2), partition=number % 3)
            await ours.write(placed(f"l-{number}", customer=random.choice(("c-1", "c-2"))))
        raise AssertionError

    async def mend() -> None:
        for _ in range(10):
            order = random.choice(("a", "b", "c"))
            await execute(ours, f"UPDATE projector.orders SET {random.choice(damages)} WHERE order_id = '{order}'")
            await execute(ours, "UPDATE projector.customer_summary SET orders = orders + 1 WHERE shard = 1")
            await asyncio.gather(*(mended(database_url, one) for one in ("a", "b", "c")))

    mending = asyncio.ensure_future(mend())
    assert await others() >= 5
    await mending
    await asyncio.gather(*(mended(database_url, one) for one in ("a", "b", "c")))
    assert await ours.differences() == []


async def test_an_order_that_is_written_all_the_while_is_mended_all_the_same(ours: Shop, database_url: str) -> None:
    async def itself() -> None:
        for version in range(4, 40):
            await ours.tell(
                attributes("a", version, "order.address_changed", {"shipping_address": {"n": str(version)}})
            )

    writing = asyncio.ensure_future(itself())
    while not writing.done():
        await mended(database_url)
    await writing
    assert await ours.differences() == []


@pytest.mark.parametrize("when", [["before"], ["after"], ["before", "after"]])
@pytest.mark.parametrize("how", ["by a worker", "beside the partitions"])
async def test_a_writer_that_comes_between_its_reading_and_its_writing_counts_once(
    ours: Shop, database_url: str, monkeypatch: pytest.MonkeyPatch, when: list[str], how: str
) -> None:
    """Others add to the same sums, in other shards or in this one, before or after all orders are read. It takes one
    try: nobody is in the way of the correction."""

    async def between(moment: str) -> None:
        events = [placed(f"new-{moment}"), attributes(f"new-{moment}", 2, "order.cancelled", {"reason": "no"})]
        await (ours.tell(*events) if how == "by a worker" else ours.write(*events))
        await ours.tell(placed(f"newer-{moment}"))

    await execute(ours, "UPDATE projector.customer_summary SET revenue = revenue + 5 WHERE customer_id = 'c-1'")
    told = []

    async def at(moment: str) -> None:
        if moment in when:
            told.append(moment)
            await between(moment)

    beside_reading(monkeypatch, at)
    await mended(database_url)
    assert told == when
    assert await ours.differences() == []


async def test_two_orders_that_share_a_wrong_sum_correct_it_once(
    ours: Shop, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await execute(ours, "UPDATE projector.customer_summary SET revenue = revenue + 5 WHERE customer_id = 'c-1'")
    others = once_while_reading(monkeypatch, ours, "after", partial(mended, database_url, "b"), "advisory")
    found = await mended(database_url)
    assert (sum(found.sums.values()), sum((await others[0]).sums.values())) == (1, 0)
    assert await ours.differences() == []


async def test_who_wants_the_whole_table_gets_it_in_between(
    ours: Shop, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration waits for the session that writes, the one that reads waits behind it: nobody would ever go on."""
    await execute(ours, "UPDATE projector.customer_summary SET revenue = revenue + 5 WHERE customer_id = 'c-1'")
    migration = partial(execute, ours, "ALTER TABLE projector.orders ADD COLUMN more integer")
    others = once_while_reading(monkeypatch, ours, "before", migration, "relation")
    async with asyncio.timeout(30):
        assert sum((await mended(database_url)).sums.values()) == 1
        await others[0]
    assert await ours.differences() == []


async def test_beside_a_rebuild_both_are_right(ours: Shop, database_url: str) -> None:
    await ours.give(demo_stream(30, 61, topic=TOPIC).deliveries)
    beside = Beside(ours, 62, orders=40)

    async def damage_and_mend() -> None:
        await beside.more(20)
        await execute(ours, STATE.format("status = 'odd', total = 0"))
        await mended(database_url)

    points = ("rebuild_capture", "rebuild_indexed", "rebuild_catch_up", "rebuild_compare")
    done = await rebuild(database_url, at=Steps(dict.fromkeys(points, damage_and_mend)))
    assert (done.state, done.comparison.counts) == ("swapped", {})
    assert await ours.differences() == []
