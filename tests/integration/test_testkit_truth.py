"""`assert_true` passes where the database is as the events say, and sees whatever isn't."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from consumer.read_models import READ_MODELS, ReadModel
from examples.adding_a_read_model.orders_by_country import OrdersByCountry
from producer.simulation import Delivery
from testkit.delivery import Deliveries, Told, deliver_badly
from testkit.events import Event, Happening, Order
from testkit.truth import assert_true
from tests.support.engine import Engine, engine

MODELS = (*READ_MODELS, OrdersByCountry())


@pytest.fixture(scope="session")
def read_models() -> Sequence[ReadModel]:
    return MODELS


@pytest_asyncio.fixture
async def projector(database_url: str) -> AsyncIterator[Engine]:
    async with engine(database_url, MODELS) as running:
        yield running


def shop() -> list[Event]:
    """Two orders: one on its way to France, one ready to be sent."""
    there, ready = Order("o-1"), Order("o-2")
    return [
        there.placed(address={"country": "NL"}),
        ready.placed(customer="c-2", address={"country": "NL"}),
        there.address_changed(country="FR"),
        ready.confirmed(),
        ready.payment_captured(),
        there.shipped(),
    ]


async def apply(projector: Engine, deliveries: Deliveries) -> None:
    for one in deliveries:
        if isinstance(one, Delivery):
            record = projector.append(one.value, key=one.key)
            headers = tuple((name, value) for name, value in one.headers)
            projector.logs[0][-1] = record._replace(headers=headers)
    await projector.run()


async def untruth(database: str, told: Sequence[Told], read_model: ReadModel | str | None = None) -> str:
    with pytest.raises(AssertionError) as caught:
        await assert_true(database, told, read_model)
    return str(caught.value)


async def test_what_was_delivered_badly_and_applied_is_true(projector: Engine, database_url: str) -> None:
    gone = Order("o-3")
    events: list[Happening] = [*shop(), gone.placed(address={"country": "NL"}), gone.erased()]
    deliveries = deliver_badly(events, seed=4, poison=0.5)
    await apply(projector, deliveries)
    stories: tuple[Sequence[Told], ...] = (events, deliveries)
    for told in stories:
        await assert_true(database_url, told)
        await assert_true(database_url, told, OrdersByCountry())
        await assert_true(database_url, told, "fulfilment_queue")
    async with projector.pool.acquire() as connection:
        await assert_true(connection, events)


@pytest.mark.parametrize(
    ("sabotage", "relation"),
    [
        ("UPDATE projector.orders SET carrier = 'none' WHERE order_id = 'o-1'", "order_summary"),
        ("DELETE FROM projector.ledger WHERE order_id = 'o-1' AND version = 3", "order_timeline"),
        ("UPDATE projector.customer_summary SET orders = orders + 1", "customer_summary"),
        ("UPDATE projector.product_sales_daily SET revenue = revenue + 0.0001", "product_sales_daily"),
        ("DELETE FROM projector.fulfilment_queue", "fulfilment_queue"),
    ],
)
async def test_a_built_in_read_model_that_is_not_true_is_named(
    projector: Engine, database_url: str, sabotage: str, relation: str
) -> None:
    await apply(projector, deliver_badly(shop(), seed=1))
    await projector.fetch(sabotage)
    assert f"read_model.{relation} is not what the events say:" in await untruth(database_url, shop())
    assert f"read_model.{relation} " in await untruth(database_url, shop(), relation)
    others = {"order_summary", "fulfilment_queue"} - {relation}
    for other in others:
        await assert_true(database_url, shop(), other)


@pytest.mark.parametrize(
    "sabotage",
    [
        "UPDATE projector.orders_by_country SET revenue = revenue - 0.0001 WHERE country = 'FR'",
        "DELETE FROM projector.orders_by_country WHERE country = 'FR'",
        "INSERT INTO projector.orders_by_country VALUES ('DE', 'EUR', 1, 1, 0)",
    ],
)
async def test_a_read_model_of_ones_own_that_is_not_true_is_named(
    projector: Engine, database_url: str, sabotage: str
) -> None:
    await apply(projector, deliver_badly(shop(), seed=1))
    await projector.fetch(sabotage)
    said = await untruth(database_url, shop(), OrdersByCountry())
    assert "read_model.orders_by_country is not what the events say:" in said
    await assert_true(database_url, shop())


async def test_a_row_of_zeros_is_no_row(projector: Engine, database_url: str) -> None:
    await apply(projector, deliver_badly(shop(), seed=1))
    await projector.fetch("INSERT INTO projector.orders_by_country VALUES ('XX', 'EUR', 0, 0, 0)")
    await projector.fetch(
        "CREATE OR REPLACE VIEW read_model.orders_by_country AS "
        "SELECT country, currency, orders, revenue FROM projector.orders_by_country"
    )
    await assert_true(database_url, shop(), OrdersByCountry())


async def test_an_event_that_never_came_is_missed_and_the_histories_are_told(
    projector: Engine, database_url: str
) -> None:
    delivered = [event for event in shop() if event["id"] != "o-1-2"]
    await apply(projector, deliver_badly(delivered, seed=1, poison=0))
    said = await untruth(database_url, shop())
    assert "projector.processed_events is not what the events say:\n  missing: ('/shop/orders', 'o-1-2')" in said
    assert "projector.parked_events is not what the events say:\n  extra: ('/shop/orders', 'o-1-3')" in said
    assert [line.rsplit("  ", 1)[-1] for line in said.splitlines() if line.startswith("    ")] == [
        "o-1-1: applied",
        "o-1-2: not there",
        "o-1-3: parked",
    ]


async def test_an_event_that_was_refused_is_told_with_its_reason(projector: Engine, database_url: str) -> None:
    events = shop()
    rival = {**events[2], "id": "rival"}
    await apply(projector, deliver_badly([*events, rival], seed=1, late=0, duplicates=0, poison=0))
    said = await untruth(database_url, events)
    assert "projector.dead_letters is not what the events say:\n  extra: ('version_conflict',)" in said
    said = await untruth(database_url, [*events[:2], rival, *events[3:]])
    assert "o-1-2: not there" not in said
    assert "rival: dead letter, version_conflict: version 2 of this order is taken" in said
    assert "applied, which nobody told: ('/shop/orders', 'o-1-2')" in said


async def test_who_tells_of_deliveries_tells_of_broken_ones_too(projector: Engine, database_url: str) -> None:
    deliveries = deliver_badly(shop(), seed=1, poison=0.5, restarts=0)
    await apply(projector, deliveries)
    await projector.fetch("DELETE FROM projector.dead_letters WHERE id = (SELECT min(id) FROM projector.dead_letters)")
    await assert_true(database_url, shop())
    said = await untruth(database_url, deliveries)
    assert "missing: ('unreadable',)" in said
    assert said.endswith(f"Delivered by {deliveries!r}.")
    assert "seed=1" in said


async def test_a_long_report_stops_somewhere(projector: Engine, database_url: str) -> None:
    events = [Order(f"o-{number}").placed() for number in range(9)]
    said = await untruth(database_url, events)
    assert said.count("read_model.order_summary") == 1
    assert said.count("('o-0',): no such row") == 1
    assert "…and more" in said
    assert said.count("The events of order") == 3
    assert "6 more orders are concerned." in said


async def test_a_view_that_hides_a_column_is_not_judged(projector: Engine, database_url: str) -> None:
    await apply(projector, deliver_badly(shop(), seed=1))
    await projector.fetch("DROP VIEW read_model.orders_by_country")
    await projector.fetch(
        "CREATE VIEW read_model.orders_by_country AS SELECT country, currency, orders FROM projector.orders_by_country"
    )
    with pytest.raises(ValueError, match="its view hides revenue"):
        await assert_true(database_url, shop(), OrdersByCountry())
