"""Read models made anew from what live work has applied, whatever that was: the same rows in other tables."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from consumer.reference import Event
from schemas.errors import Refused
from tests.support.engine import TOPIC, attributes, placed
from tests.support.rebuilding import Shop, Steps, journal, leftovers, rebuild, shop
from tests.support.redelivery import confirmed, of_version, retry, run_as_older
from tests.support.streams import demo_stream

STORED = ("customer_summary", "product_sales_daily", "fulfilment_queue")
TABLES = ("orders", *STORED)


@pytest_asyncio.fixture
async def ours(database_url: str) -> AsyncIterator[Shop]:
    async with shop(database_url) as made:
        yield made


async def tables(ours: Shop) -> dict[str, int]:
    """Which table stands under each name."""
    query = "SELECT relname, oid::bigint AS oid FROM pg_class WHERE relnamespace = 'projector'::regnamespace"
    return {row["relname"]: row["oid"] for row in await ours.fed.fetch(query) if row["relname"] in TABLES}


def moved(order: str, version: int, city: str = "Utrecht") -> dict[str, Any]:
    return attributes(order, version, "order.address_changed", {"shipping_address": {"city": city}})


# Which of them


async def test_without_a_name_everything_is_made_anew(ours: Shop, database_url: str) -> None:
    await ours.give(demo_stream(80, 11, topic=TOPIC).deliveries)
    before = await tables(ours)
    done = await rebuild(database_url)
    assert (done.state, done.names, done.comparison.counts) == ("swapped", [*TABLES], {})
    assert all(number != before[name] for name, number in (await tables(ours)).items())
    assert await ours.differences() == []
    assert await leftovers(ours.fed) == []


@pytest.mark.parametrize(
    ("names", "made"),
    [
        (("customer_summary",), ("customer_summary",)),
        (("fulfilment_queue", "product_sales_daily"), ("product_sales_daily", "fulfilment_queue")),
        (("order_summary",), TABLES),
        (("order_summary", "fulfilment_queue"), TABLES),
    ],
)
async def test_by_name_only_these_take_over(
    ours: Shop, database_url: str, names: tuple[str, ...], made: tuple[str, ...]
) -> None:
    await ours.give(demo_stream(40, 12, topic=TOPIC).deliveries)
    before = await tables(ours)
    done = await rebuild(database_url, *names)
    assert (done.state, tuple(done.names)) == ("swapped", made)
    assert {name for name, number in (await tables(ours)).items() if number != before[name]} == {*made}
    await ours.give(demo_stream(20, 13, topic=TOPIC).deliveries)
    assert await ours.differences() == []


async def test_a_name_that_is_none_is_refused_and_nothing_is_left(ours: Shop, database_url: str) -> None:
    for name, why in (("custmer_summary", "there is no read model"), ("order_timeline", "is the journal itself")):
        with pytest.raises(Refused, match=why):
            await rebuild(database_url, name)
    assert await leftovers(ours.fed) == []
    assert await ours.fed.value("SELECT count(*) FROM projector.rebuilds") == 0


async def test_a_database_without_an_order_is_rebuilt_too(ours: Shop, database_url: str) -> None:
    assert (await rebuild(database_url)).state == "swapped"
    await ours.tell(placed("a"))
    assert await ours.differences() == []


@pytest.mark.parametrize("size", [1, 3, 1_000])
async def test_ranges_of_any_size_make_the_same(ours: Shop, database_url: str, size: int) -> None:
    await ours.give(demo_stream(30, 14, topic=TOPIC).deliveries)
    done = await rebuild(database_url, source=journal(size))
    assert (done.state, done.comparison.counts) == ("swapped", {})
    assert done.events == await ours.fed.value("SELECT count(*) FROM projector.ledger")
    assert await ours.differences() == []


async def test_processes_make_the_same(ours: Shop, database_url: str) -> None:
    await ours.give(demo_stream(60, 15, topic=TOPIC).deliveries)
    steps = Steps({})
    done = await rebuild(database_url, at=steps, processes=2, source=journal(60))
    assert (done.state, done.comparison.counts) == ("swapped", {})
    assert steps.reached.count("rebuild_bulk") > 2
    assert await ours.differences() == []


async def test_again_and_again_makes_the_same(ours: Shop, database_url: str) -> None:
    await ours.give(demo_stream(30, 16, topic=TOPIC).deliveries)
    for n in range(3):
        assert (await rebuild(database_url)).comparison.counts == {}
        await ours.tell(placed(f"next-{n}"))
    assert await ours.differences() == []


# What orders have gone through


async def test_erased_orders_stay_erased(ours: Shop, database_url: str) -> None:
    await ours.tell(placed("gone"), confirmed("gone", 2), placed("stays"))
    await ours.erase("gone", "never-heard-of")
    await rebuild(database_url)
    assert await ours.fed.value("SELECT count(*) FROM projector.orders WHERE erased") == 2
    await ours.tell(placed("gone"), confirmed("gone", 3), placed("never-heard-of"), confirmed("stays", 2))
    assert await ours.differences() == []
    assert await ours.fed.value("SELECT count(*) FROM projector.orders") == 3


async def test_what_waits_for_its_turn_is_applied_after_the_swap(ours: Shop, database_url: str) -> None:
    await ours.tell(placed("hole"), moved("hole", 3), confirmed("no-first", 2), attributes("odd", 1, "order.odd", {}))
    stub = "SELECT version FROM projector.orders WHERE order_id = 'no-first'"
    assert await ours.fed.value(stub) == 0
    assert (await rebuild(database_url)).comparison.counts == {}
    assert await ours.differences() == []
    await ours.tell(confirmed("hole", 2), placed("no-first"), placed("odd", 2))
    assert await ours.differences() == []
    assert await ours.fed.value(stub) == 2


async def test_what_was_refused_is_refused_and_retried_after_the_swap(ours: Shop, database_url: str) -> None:
    events = [placed("lost"), confirmed("lost", 2), placed("twice"), placed("twice", 2), confirmed("none", 1)]
    ours.fed.send(*events)
    await run_as_older(ours.fed, lambda item: of_version(1)(item) and item.order_id == "lost")
    assert (await rebuild(database_url)).comparison.counts == {}
    [lost] = await ours.fed.fetch("SELECT id FROM projector.dead_letters WHERE reason = 'unreadable'")
    await retry(ours.fed, lost["id"])
    assert await ours.fed.differences(list(map(Event, events))) == []
    assert (await rebuild(database_url)).comparison.counts == {}
    assert await ours.fed.differences(list(map(Event, events))) == []


# What events hold


async def test_data_of_an_older_version_are_brought_up_again(ours: Shop, database_url: str) -> None:
    """The timeline shows them as sent; all else is what they mean."""
    new = placed("old")
    line, customer = new["data"]["lines"][0], new["data"]["customer"]
    data = {"customer_id": customer["id"], "customer_name": customer["name"], "currency": "EUR", "items": [line]}
    ours.fed.send({**new, "schemaversion": 0, "data": data}, confirmed("old", 2), {**placed("new"), "schemaversion": 7})
    await ours.fed.run()
    meant = [Event(new), Event(confirmed("old", 2)), Event(placed("new"))]
    before = await ours.fed.differences(meant)
    assert [one.partition(": ")[0] for one in before] == ["order_timeline"]
    assert (await rebuild(database_url)).comparison.counts == {}
    assert await ours.fed.differences(meant) == before
    await ours.fed.pool.execute("UPDATE projector.ledger SET schema_version = NULL")  # as before it was recorded
    assert (await rebuild(database_url)).comparison.counts == {}
    assert await ours.fed.differences(meant) == before


ODD = [
    placed("o-1", id_="01890a5d-ac96-774b-bcce-b302099a8057"),
    confirmed("o-1", 2, id_="{01890a5d-ac96-774b-bcce-b302099a8058}"),
    placed("ø 山\t\\N\n\x1e\r\x7f", customer="\\.\t'\"{}", id_="\\x00\x1e"),
    placed("\\N"),
    placed(" "),
    placed("x" * 200, id_="y" * 200, source="urn:" + "z" * 500),
    {**placed("old"), "time": "0001-01-02T00:00:00Z"},
    {**placed("young"), "time": "9999-12-30T23:59:59.999999Z"},
    {**placed("east"), "time": "2026-03-01T01:00:00+14:00"},
    placed("free", price="0"),
    confirmed("free", 2),
]


async def test_ids_texts_and_times_of_every_kind_are_the_same_afterwards(ours: Shop, database_url: str) -> None:
    await ours.tell(*ODD)
    assert await ours.differences() == []
    done = await rebuild(database_url, source=journal(2))
    assert (done.state, done.comparison.counts) == ("swapped", {})
    assert await ours.differences() == []
    await ours.tell(*ODD)
    assert await ours.differences() == []


@pytest.mark.parametrize("time", ["0001-01-01T12:00:00Z", "9999-12-31T12:00:00Z"])
async def test_the_first_day_and_the_last_one_are_no_difference(ours: Shop, database_url: str, time: str) -> None:
    await ours.tell({**placed("a"), "time": time})
    assert (await rebuild(database_url)).comparison.counts == {}


def added(order: str, version: int, quantity: int, price: str = "0.0001") -> dict[str, Any]:
    line = {"sku": "sku-1", "title": "\x1e\\", "quantity": quantity, "unit_price": price}
    return attributes(order, version, "order.line_added", {"line": line})


async def test_numbers_of_any_size_are_exact_afterwards(ours: Shop, database_url: str) -> None:
    most = "99999999999999.9999"
    await ours.tell(
        placed("big", price=most),
        added("big", 2, 10**50 + 1),
        added("big", 3, 10**3999 + 1, most),
        attributes("big", 4, "order.payment_captured", {"payment_id": "p", "amount": most}),
        confirmed("big", 5),
        placed("small", price="0.0001"),
    )
    assert (await rebuild(database_url)).comparison.counts == {}
    assert await ours.differences() == []
    await ours.tell(attributes("big", 6, "order.cancelled", {"reason": ""}), added("small", 2, 10**50 + 1))
    assert await ours.differences() == []


@pytest.mark.parametrize("digits", [20, 40, 3_999])
async def test_numbers_of_any_size_that_change_meanwhile_are_no_difference(
    ours: Shop, database_url: str, digits: int
) -> None:
    await ours.tell(placed("a"), placed("b", customer="c-2"))

    async def grow() -> None:
        await ours.tell(added("a", 2, 10**digits + 1), placed("new", customer="c-3"), added("new", 2, 10**digits + 3))

    done = await rebuild(database_url, at={"rebuild_catch_up": grow})
    assert (done.state, done.comparison.counts) == ("swapped", {})
    assert await ours.differences() == []
