"""The way back: the tables from before the swap, brought up to what was written since, and there again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio

from consumer import install
from consumer.checkpoints import Place
from consumer.install import makes
from consumer.read_models import READ_MODELS, ReadModel
from consumer.rebuild import catch_up, swap
from consumer.rebuild import rollback as module
from consumer.rebuild.leftovers import drop_old
from consumer.rebuild.rollback import rollback
from consumer.rebuild.terms import Outcome
from consumer.reference import Event
from schemas.errors import OutOfPlace, Refused
from tests.support.engine import TOPIC, attributes, placed
from tests.support.makes import VARIANTS, CustomerSummary, instead
from tests.support.rebuilding import Beside, Shop, Steps, leftovers, rebuild, shop
from tests.support.rebuilds import settings_of
from tests.support.redelivery import confirmed, of_version, retry, run_as_older

TABLES = ["orders", "customer_summary", "product_sales_daily", "fulfilment_queue"]
OLDER = instead(CustomerSummary())


@pytest_asyncio.fixture
async def ours(database_url: str) -> AsyncIterator[Shop]:
    async with shop(database_url) as made:
        await made.tell(placed("a"), placed("b"), placed("c", customer="c-2"), confirmed("a", 2))
        yield made


async def tables(at: Shop) -> dict[str, int]:
    """Which table stands under each name."""
    query = "SELECT relname, oid::bigint AS oid FROM pg_class WHERE relnamespace = 'projector'::regnamespace"
    return {row["relname"]: row["oid"] for row in await at.fed.fetch(query) if row["relname"] in TABLES}


async def back(url: str, models: Sequence[ReadModel] = READ_MODELS) -> Outcome:
    return await rollback(settings_of(url), models)


def moved(order: str, version: int) -> dict[str, Any]:
    return attributes(order, version, "order.address_changed", {"shipping_address": {"city": "Utrecht"}})


async def test_right_after_the_swap_the_very_tables_of_before_are_back(ours: Shop, database_url: str) -> None:
    before = await tables(ours)
    await rebuild(database_url)
    done = await back(database_url)
    assert (done.state, {*done.names}) == ("swapped", {*TABLES})
    assert await tables(ours) == before
    assert await ours.differences() == []
    assert await leftovers(ours.fed) == []
    states = await ours.fed.fetch("SELECT state FROM projector.rebuilds ORDER BY id")
    assert [row["state"] for row in states] == ["swapped", "rolled_back"]


async def test_what_was_written_since_is_in_the_tables_of_before(ours: Shop, database_url: str) -> None:
    ours.fed.send(placed("lost"), confirmed("lost", 2))
    await run_as_older(ours.fed, lambda item: of_version(1)(item) and item.order_id == "lost")
    await rebuild(database_url)
    await ours.tell(placed("new"), confirmed("b", 2), attributes("a", 3, "order.cancelled", {"reason": "no"}))
    await ours.tell(moved("hole", 2), placed("new"))
    await ours.write(placed("local", customer="c-7"), confirmed("local", 2))
    await ours.erase("c", "unheard-of")
    await retry(ours.fed)
    ours.meant = [*map(Event, (placed("lost"), confirmed("lost", 2))), *ours.meant]
    assert await ours.differences() == []
    await back(database_url)
    assert await ours.differences() == []
    await ours.tell(placed("hole"), confirmed("new", 2), placed("c"))
    assert await ours.differences() == []


async def test_back_and_there_and_back_while_a_stream_goes_on(ours: Shop, database_url: str) -> None:
    first = await tables(ours)
    beside = Beside(ours, 51)
    await rebuild(database_url)
    second = await tables(ours)
    for stand in (first, second, first, second):
        await beside.more(60)
        await back(database_url)
        assert await tables(ours) == stand
        assert await ours.differences() == []
    await beside.rest()
    assert await ours.differences() == []


@pytest.mark.parametrize("names", [("customer_summary",), ("fulfilment_queue", "product_sales_daily")])
async def test_after_a_swap_of_some_only_these_go_back(ours: Shop, database_url: str, names: tuple[str, ...]) -> None:
    before = await tables(ours)
    await rebuild(database_url, *names)
    there = await tables(ours)
    await ours.tell(placed("new"), confirmed("b", 2))
    for stand in (before, there, before):
        done = await back(database_url)
        assert {*done.names} == {*names}
        assert await tables(ours) == stand
        await ours.tell(placed(f"next-{len(ours.meant)}"))
        assert await ours.differences() == []


async def test_what_is_written_while_it_goes_back_is_there(
    ours: Shop, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the swap and while writers wait for it."""
    await rebuild(database_url)
    beside = Beside(ours, 52)
    caught_up = module._catch_up

    async def and_more(*arguments: Any) -> None:
        await beside.more()
        await caught_up(*arguments)
        await beside.more()

    steps = Steps({})
    monkeypatch.setattr(module, "_catch_up", and_more)
    monkeypatch.setattr(module, "Failpoints", lambda _: steps)
    await back(database_url)
    assert steps.reached == ["rebuild_align", "rebuild_swap_locked", "rebuild_swap"]
    assert await ours.differences() == []


async def test_more_than_is_folded_while_writers_wait_is_all_there(
    ours: Shop, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [f"o-{number:03}" for number in range(120)]
    await ours.tell(*map(placed, many))
    await rebuild(database_url)
    monkeypatch.setattr(swap, "HOLD", (0.0, 0.0))
    monkeypatch.setattr(catch_up, "_STEP", 50)
    caught_up, times = module._catch_up, 0

    async def and_much_more(*arguments: Any) -> None:
        nonlocal times
        times += 1
        await caught_up(*arguments)
        if times <= 2:
            await ours.tell(*(moved(order, 1 + times) for order in many))

    monkeypatch.setattr(module, "_catch_up", and_much_more)
    await back(database_url)
    assert times > 2
    assert await ours.differences() == []


# What it refuses


async def test_without_a_swap_there_is_nothing_to_go_back_to(ours: Shop, database_url: str) -> None:
    with pytest.raises(Refused, match="there is nothing to go back to"):
        await back(database_url)
    await rebuild(database_url)
    assert {*await drop_old(settings_of(database_url))} == {*TABLES}
    assert await drop_old(settings_of(database_url)) == []
    with pytest.raises(Refused, match="there is nothing to go back to"):
        await back(database_url)
    assert await ours.differences() == []
    assert await leftovers(ours.fed) == []


async def test_only_the_last_swap_can_be_taken_back(ours: Shop, database_url: str) -> None:
    await rebuild(database_url)
    second = await tables(ours)
    await rebuild(database_url)
    await back(database_url)
    assert await tables(ours) == second


@pytest.mark.parametrize("columns", ["ADD COLUMN late text", "DROP COLUMN carrier"])
async def test_a_migration_that_came_between_is_refused(ours: Shop, database_url: str, columns: str) -> None:
    await rebuild(database_url)
    await ours.fed.pool.execute("DROP VIEW read_model.order_summary")
    await ours.fed.pool.execute(f"ALTER TABLE projector.orders {columns}")
    with pytest.raises(Refused, match="a migration came between"):
        await back(database_url)
    assert await leftovers(ours.fed) == []


# To another make


async def test_to_what_other_code_has_made_only_that_code_goes_back(ours: Shop, database_url: str) -> None:
    await rebuild(database_url, models=OLDER, changed=True)  # a release that counts wrongly
    await rebuild(database_url, changed=True)
    async with shop(database_url) as newer:
        newer.fed.logs = ours.fed.logs
        await newer.fed.take()
        newer.fed.send(attributes("a", 3, "order.cancelled", {"reason": "no"}), placed("d"))
        with pytest.raises(Refused, match="customer_summary of before the swap are of another release's make"):
            await back(database_url)
        assert await leftovers(ours.fed) == []
        done = await back(database_url, OLDER)
        assert [*done.names] == ["customer_summary"]
        with pytest.raises(OutOfPlace):
            await newer.fed.apply(newer.fed.next_batch())
        async with newer.fed.pool.acquire() as connection:
            with pytest.raises(Refused, match="customer_summary stand in another make"):
                await install.take(connection, {Place(TOPIC, 0): 0}, "newer")
    async with shop(database_url, OLDER) as older:
        older.fed.logs, older.meant = ours.fed.logs, ours.meant
        await older.fed.run()
        await rebuild(database_url, changed=True)
        older.meant += map(Event, (attributes("a", 3, "order.cancelled", {"reason": "no"}), placed("d")))
        assert await older.differences() == []
        make = await older.fed.fetch(
            "SELECT fingerprint, generation FROM projector.read_models WHERE name LIKE 'cust%'"
        )
        assert [(row["fingerprint"], row["generation"]) for row in make] == [(makes()["customer_summary"], 5)]


@pytest.mark.parametrize("variant", VARIANTS[1:6:2], ids=lambda variant: variant.name)
async def test_to_other_columns_it_goes_back_too(ours: Shop, database_url: str, variant: Any) -> None:
    name = variant.model.name
    assert (await rebuild(database_url, name, models=variant.models)).state == "swapped"
    assert (await back(database_url)).state == "swapped"
    await ours.tell(placed("new"), confirmed("b", 2))
    assert await ours.differences() == []
    assert (await back(database_url, variant.models)).state == "swapped"
    assert (await rebuild(database_url, name)).state == "swapped"
    assert await ours.differences() == []
