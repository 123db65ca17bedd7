"""Live and rebuilt held against each other: what differs stops the swap, and is named; what is only newer does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from consumer import order_store
from consumer.install import makes
from consumer.read_models import READ_MODELS
from consumer.read_models.kinds import Stored
from consumer.rebuild import shadow
from consumer.rebuild.compare import SHOWN, Comparison, Difference, compare
from consumer.rebuild.plan import choose
from tests.support.engine import TOPIC, attributes, placed
from tests.support.rebuilding import Shop, Steps, leftovers, rebuild, shop
from tests.support.redelivery import confirmed
from tests.support.streams import demo_stream

MODELS = [model for model in READ_MODELS if isinstance(model, Stored)]

# What is done by hand to order "a" of customer "c-1", and the read models in which that shows.
DAMAGE = {
    "UPDATE projector.orders SET total = total + 1 WHERE order_id = 'a'": {"orders"},
    "UPDATE projector.orders SET status = NULL, lines = '[]' WHERE order_id = 'a'": {"orders"},
    "UPDATE projector.orders SET version = version + 3 WHERE order_id = 'a'": {"orders"},
    "UPDATE projector.orders SET version = version - 1 WHERE order_id = 'a'": {"orders"},
    "UPDATE projector.orders SET customer_name = customer_name || ' ' WHERE order_id = 'a'": {"orders"},
    "DELETE FROM projector.orders WHERE order_id = 'a'": {"orders"},
    "INSERT INTO projector.orders (order_id, revision, version, lines, unit_count, total, paid, refunded) "
    "VALUES ('ghost', 1, 1, '[]', 0, 0, 0, 0)": {"orders"},
    "DELETE FROM projector.fulfilment_queue WHERE order_id = 'a'": {"fulfilment_queue"},
    "UPDATE projector.fulfilment_queue SET ready_since = ready_since + interval '1 us'": {"fulfilment_queue"},
    "INSERT INTO projector.fulfilment_queue (order_id, unit_count, total) VALUES ('b', 1, 1)": {"fulfilment_queue"},
    "UPDATE projector.customer_summary SET revenue = revenue + 0.0001": {"customer_summary"},
    "UPDATE projector.customer_summary SET delivered_orders = 1, open_orders = 0": {"customer_summary"},
    "DELETE FROM projector.customer_summary": {"customer_summary"},
    "INSERT INTO projector.customer_summary VALUES ('c-9', 'EUR', 0, 0, 0, 0, 5, 3)": {"customer_summary"},
    "INSERT INTO projector.customer_summary SELECT customer_id, currency, 0, 0, 0, 0, 5, 77 "
    "FROM projector.customer_summary": {"customer_summary"},
    "UPDATE projector.product_sales_daily SET day = day + 1": {"product_sales_daily"},
    "UPDATE projector.product_sales_daily SET units = units * 2": {"product_sales_daily"},
    "DELETE FROM projector.orders; DELETE FROM projector.fulfilment_queue": {"orders", "fulfilment_queue"},
}


@pytest_asyncio.fixture
async def ours(database_url: str) -> AsyncIterator[Shop]:
    async with shop(database_url) as made:
        await made.tell(placed("a"), placed("b"), confirmed("a", 2), paid("a", 3))
        yield made


def paid(order: str, version: int) -> dict[str, object]:
    return attributes(order, version, "order.payment_captured", {"payment_id": "p", "amount": "25.00"})


async def execute(ours: Shop, statement: str) -> None:
    async with ours.fed.pool.acquire() as connection:
        await connection.execute(statement)


async def rows(ours: Shop) -> list[list[dict[str, object]]]:
    """All that is live."""
    names = ("orders", *(model.name for model in MODELS))
    return [await ours.fed.fetch(f"SELECT ctid::text, t.* FROM projector.{name} AS t") for name in names]


@pytest.mark.parametrize("damage", DAMAGE)
async def test_damage_is_found_and_stops_and_is_mended_when_told_to(ours: Shop, database_url: str, damage: str) -> None:
    await ours.tell(placed("anchor", customer="c-3"))
    await execute(ours, damage)
    if await ours.fed.value("SELECT count(*) FROM projector.orders") == 0:
        await ours.tell(placed("c", customer="c-4"))  # an empty database has nothing to be equal to
    live = await rows(ours)
    done = await rebuild(database_url)
    assert (done.state, {*done.comparison.counts}) == ("differs", DAMAGE[damage])
    assert done.comparison.unexpected == done.comparison.counts
    assert await rows(ours) == live
    assert await ours.fed.value("SELECT to_regclass('projector_shadow.orders') IS NOT NULL")
    assert not await ours.fed.value("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'touched%'")
    again = await rebuild(database_url, accept=True)
    assert (again.state, again.resumed) == ("swapped", True)
    assert again.comparison.counts == done.comparison.counts
    assert await ours.differences() == []
    assert await leftovers(ours.fed) == []


async def test_what_was_kept_is_brought_up_before_it_is_swapped(ours: Shop, database_url: str) -> None:
    """Between the two runs nobody notes what is written."""
    await execute(ours, "UPDATE projector.customer_summary SET revenue = 7")
    assert (await rebuild(database_url)).state == "differs"
    await ours.tell(placed("new"), confirmed("b", 2), placed("c", customer="c-2"))
    await ours.erase("a", "unheard-of")
    again = await rebuild(database_url, accept=True)
    assert (again.state, again.resumed) == ("swapped", True)
    assert await ours.differences() == []


async def test_what_was_kept_to_be_looked_at_is_swapped_in_when_told_to(ours: Shop, database_url: str) -> None:
    assert (await rebuild(database_url, swap=False)).state == "kept"
    await ours.tell(placed("new"))
    steps = Steps({})
    again = await rebuild(database_url, at=steps)
    assert (again.state, again.resumed, "rebuild_bulk" in steps.reached) == ("swapped", True, False)
    assert await ours.differences() == []


async def test_what_was_kept_is_dropped_by_a_rebuild_of_something_else(ours: Shop, database_url: str) -> None:
    assert (await rebuild(database_url, swap=False)).state == "kept"
    other = await rebuild(database_url, "fulfilment_queue")
    assert (other.state, other.resumed) == ("swapped", False)
    again = await rebuild(database_url)
    assert (again.state, again.resumed) == ("swapped", False)
    assert await ours.differences() == []


async def test_of_many_differences_the_first_are_shown_and_all_are_counted(ours: Shop, database_url: str) -> None:
    await ours.give(demo_stream(80, 21, topic=TOPIC).deliveries)
    await execute(ours, "UPDATE projector.orders SET paid = paid + 1 WHERE NOT erased")
    done = await rebuild(database_url)
    expected = await ours.fed.value("SELECT count(*) FROM projector.orders WHERE NOT erased AND version > 0")
    assert expected > SHOWN
    assert done.comparison.counts == {"orders": expected}
    shown = done.comparison.first["orders"]
    assert [one.key[0] for one in shown] == sorted(one.key[0] for one in shown)
    assert len(shown) == SHOWN
    for one in shown:
        [(column, live, rebuilt)] = one.columns()
        assert (column, live - rebuilt) == ("paid", Decimal(1))


# The comparison alone


async def compared(ours: Shop) -> Comparison:
    plan = choose(READ_MODELS, makes(), makes(), (), "journal")
    assert plan is not None
    async with ours.fed.pool.acquire() as connection:
        return await compare(connection, plan, MODELS)


@pytest_asyncio.fixture
async def beside(ours: Shop, database_url: str) -> Shop:
    """Live and a shadow that are equal, and whatever is written from now on is noted."""
    await ours.give(demo_stream(30, 22, topic=TOPIC).deliveries)
    assert (await rebuild(database_url, swap=False)).state == "kept"
    async with ours.fed.pool.acquire() as connection:
        await shadow.capture(connection)
    return ours


async def test_what_is_only_newer_is_no_difference(beside: Shop) -> None:
    assert (await compared(beside)).counts == {}
    await beside.tell(placed("new"), placed("newer", customer="c-2"), confirmed("b", 2))
    assert (await compared(beside)).counts == {}
    await beside.tell(attributes("a", 4, "order.cancelled", {"reason": "no"}), paid("b", 3), confirmed("new", 2))
    await beside.write(placed("local"), paid("newer", 2))
    await beside.erase("newer", "b")
    assert (await compared(beside)).counts == {}
    await beside.give(demo_stream(30, 23, topic=TOPIC).deliveries, 1)
    assert (await compared(beside)).counts == {}


async def test_what_is_written_while_it_compares_is_no_difference(
    beside: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the states were compared, and after the notes were read."""
    read = order_store.read

    async def and_more_is_written(*arguments: Any, **more: Any) -> Any:
        if more.get("schema") == "projector_shadow":
            await asyncio.ensure_future(beside.tell(confirmed("b", 2), placed("new"), placed("other", customer="c-2")))
        return await read(*arguments, **more)

    monkeypatch.setattr("consumer.rebuild.compare.order_store.read", and_more_is_written)
    assert (await compared(beside)).counts == {}


@pytest.mark.parametrize("side", ["projector", "projector_shadow"])
async def test_damage_to_sums_is_found_among_what_is_only_newer(beside: Shop, side: str) -> None:
    await beside.tell(placed("new"), confirmed("b", 2), attributes("a", 4, "order.cancelled", {"reason": "no"}))
    by_hand = f"UPDATE {side}.customer_summary SET orders = orders + 1 WHERE customer_id = 'c-1'"
    await execute(beside, by_hand)
    found = await compared(beside)
    assert found.counts == {"customer_summary": 1}
    assert found.first["customer_summary"][0].key == ("c-1", "EUR")


async def test_a_difference_that_new_orders_explain_and_is_not_there_is_one(beside: Shop) -> None:
    """The sums of a touched order were not written with it."""
    before = await beside.fed.fetch("SELECT * FROM projector.customer_summary WHERE customer_id = 'c-1'")
    await beside.tell(placed("new"))
    undone = (
        "UPDATE projector.customer_summary SET orders = $1, open_orders = $2, revenue = $3 WHERE customer_id = 'c-1'"
    )
    await beside.fed.pool.execute(undone, before[0]["orders"], before[0]["open_orders"], before[0]["revenue"])
    assert (await compared(beside)).counts == {"customer_summary": 1}


async def test_damage_to_an_order_that_was_not_touched_is_found_among_others(beside: Shop) -> None:
    await execute(beside, "UPDATE projector_shadow.orders SET carrier = 'nobody' WHERE order_id = 'a'")
    await beside.tell(placed("new"), confirmed("b", 2))
    found = await compared(beside)
    assert found.counts == {"orders": 1}
    assert [*found.first["orders"][0].columns()] == [("carrier", None, "nobody")]


def test_a_row_that_one_side_lacks_is_told_as_such() -> None:
    assert [*Difference(("a",), {"n": 1}, None).columns()] == [("row", "there", "missing")]
    assert [*Difference(("a",), None, {"n": 1}).columns()] == [("row", "missing", "there")]
    assert [*Difference(("a",), {"n": 1, "m": 2}, {"n": 1, "m": 3}).columns()] == [("m", 2, 3)]
