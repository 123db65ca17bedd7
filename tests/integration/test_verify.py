"""`projector verify` on a real log and a real database: nothing is found where they agree, whatever was sent."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from consumer.install import install
from consumer.journal import NO_RECORD
from consumer.read_models import READ_MODELS
from consumer.verification.snapshot import Sample
from examples.adding_a_read_model.orders_by_country import OrdersByCountry
from schemas.events import Event, Tombstone
from testkit.plugin import MakeTopic
from tests.support.engine import attributes, placed
from tests.support.events import DATA, ENCODINGS, LINE, Rec, decoded, record
from tests.support.fleet import settings_for, working
from tests.support.streams import deliveries_of, demo_stream, stream
from tests.support.verification import World, counted, told

pytestmark = pytest.mark.apache_kafka

SOURCES = ("log", "journal")


@pytest_asyncio.fixture
async def world(kafka_bootstrap: str, database_url: str, make_topic: MakeTopic) -> World:
    return World(settings_for(kafka_bootstrap, database_url, await make_topic(partitions=3)))


async def clean(world: World, **plan: Any) -> None:
    """By log and by journal."""
    for source in SOURCES:
        assert await world.differences(source=source, **plan) == [], source


@pytest.mark.parametrize("size", [25_000, 30])
async def test_what_a_fleet_has_made_of_everything_that_may_come(world: World, size: int) -> None:
    sent = demo_stream(80, seed=size, topic=world.topic).shuffled(seed=1)
    await world.send(sent)
    await world.work()
    found = {source: await world.verify(source=source, size=size) for source in SOURCES}
    assert [told(one) for one in found.values()] == [[], []]
    settled = sent.settled()
    for source, one in found.items():
        counts = counted(one)
        assert counts["order_timeline"] == counts["processed_events"] == sum(map(len, settled.applied.values()))
        assert counts.get("dead_letters") == (len(settled.dead) if source == "log" else None)
        assert min(counts[name] for name in ("order_summary", "customer_summary", "product_sales_daily")) > 0
    assert found["log"].records == len(sent.deliveries)
    assert found["log"].only_in_database.count == found["log"].letters_without_record.count == 0


async def test_records_in_every_encoding_erasures_and_odd_values(world: World) -> None:
    records = [record(encoding, order=f"{encoding}-{n}") for encoding in ENCODINGS for n in range(3)]
    keys = ("binary-0", json.dumps("structured-0"), '"outbox-0"', "unheard-of")
    records += [Rec(key=key.encode()) for key in keys]
    records += [record(encoding, type_="confirmed", version=2, order=f"{encoding}-0") for encoding in ENCODINGS]
    odd: dict[str, Any] = {
        "as numbers": b'{"customer":{"id":"c","name":"n"},"currency":"EUR","lines":['
        b'{"sku":"s","quantity":1,"unit_price":12.50},{"sku":"s","quantity":1,"unit_price":1e2}]}',
        "large": {**(DATA["order.placed"] or {}), "lines": [{**LINE, "quantity": 10**3999}]},
        "more": {**(DATA["order.placed"] or {}), "unknown": ["☕", {"deep": None}], "shipping_address": None},
        "huge number": b'{"x": 1e5000, ' + json.dumps(DATA["order.placed"]).encode()[1:],
        "twice": json.dumps(DATA["order.placed"]).encode()[:-1] + b', "currency": "USD"}',
    }
    records += [record(data=data, order=order) for order, data in odd.items()]
    records += [record(type_="gift_wrapped", order="wrapped first"), record(version=2, order="wrapped first")]
    records += [record(type_="confirmed", order="invalid", version=1), record(version=3, order="parked")]
    old = {"customer_id": "c-0", "customer_name": "Old", "items": [LINE], "currency": "EUR"}
    records += [record(data=old, order="old", schemaversion=0), record(order="newer", schemaversion=9)]
    await world.send(deliveries_of(records), partition=1)
    await world.work()
    await clean(world)
    assert await world.fetch("SELECT customer_name FROM read_model.order_summary WHERE order_id = 'old'") == [("Old",)]
    await world.execute("UPDATE projector.ledger SET schema_version = NULL")  # as before it was recorded
    await clean(world)


async def test_nothing_at_all_and_a_log_that_is_not_begun(world: World) -> None:
    await clean(world)
    await world.tell(placed("a"), partition=1)
    await clean(world)
    await world.apply(0, 2)
    await clean(world)
    await world.apply(1)
    assert counted(await world.verify())["order_summary"] == 1


async def test_an_order_whose_partition_changed_is_whole(world: World) -> None:
    events = [placed("a"), *(attributes("a", version, "order.delivered") for version in range(2, 8))]
    for place, event in enumerate(events):
        await world.tell(event, partition=place % 3)
    await world.apply(2, 0, 1)
    await clean(world)


RIVALS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "for one version": ([placed("a", id_="x")], [placed("a", price="1", id_="y")]),
    "for one version, both waiting": (
        [attributes("a", 2, "order.confirmed", id_="x")],
        [attributes("a", 2, "order.delivered", id_="y"), placed("a")],
    ),
    "of one identity": ([placed("a", id_="x")], [placed("a", price="1", id_="x")]),
    "of one identity, other versions": (
        [placed("a"), attributes("a", 2, "order.confirmed", id_="x"), attributes("a", 3, "order.delivered")],
        [attributes("a", 3, "order.shipped", {"carrier": "c", "tracking_number": "t"}, id_="x")],
    ),
    "one of them invalid": ([attributes("a", 1, "order.confirmed", id_="x")], [placed("a", id_="y")]),
    "one identity, other orders": ([placed("a", id_="x"), placed("b")], [placed("c", id_="x"), placed("d")]),
}


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("rivals", RIVALS.values(), ids=RIVALS)
async def test_which_of_two_partitions_came_first_is_for_live_to_say(
    world: World, rivals: tuple[list[dict[str, Any]], list[dict[str, Any]]], first: int
) -> None:
    for partition, events in enumerate(rivals):
        await world.tell(*events, partition=partition)
    await world.apply(first, 1 - first)
    await clean(world, size=1)


async def test_what_came_first_in_one_partition_is_not_for_live_to_say(world: World) -> None:
    await world.tell(placed("a", id_="x"), placed("a", price="1", id_="y"), partition=1)
    await world.apply(1)
    await clean(world)
    await world.execute("UPDATE projector.checkpoints SET next_offset = 0", "TRUNCATE projector.dead_letters")
    for table in ("ledger", "orders", "customer_summary", "product_sales_daily", "fulfilment_queue"):
        await world.execute(f"TRUNCATE projector.{table}")
    await world.execute("UPDATE projector.checkpoints SET next_offset = 1")
    await world.apply(1)
    await world.execute("UPDATE projector.checkpoints SET next_offset = 0")
    await world.apply(1)
    found = await world.differences()
    assert "order_timeline a 1 event_id" in found
    assert "dead_letters a /shop y missing" in found
    assert await world.differences(source="journal") == []


async def test_a_fleet_at_work_gives_no_false_alarm(world: World) -> None:
    sent = stream(300, 7, topic=world.topic, poison=30, tombstones=5).shuffled(seed=2)
    await world.send(sent)
    settings = world.settings.model_copy(update={"batch_size": 40, "lanes": 2})
    seen = set()
    async with working(settings) as worker:
        catching_up = asyncio.ensure_future(worker.caught_up(world.ends, 120))
        while not catching_up.done():
            found = await world.verify(size=200)
            assert told(found) == []
            assert found.only_in_database.count == 0
            assert await world.differences(source="journal", size=200) == []
            seen.add(found.records)
        await catching_up
    await clean(world)
    assert len(seen) > 2  # it was looked at on the way


async def test_what_came_beside_the_log_is_told_and_no_difference(world: World) -> None:
    """As local writers do, and a replay of what no worker has come to."""

    def written(event: dict[str, Any]) -> Event:
        return decoded(event)._replace(record=NO_RECORD)

    await world.tell(placed("a"), placed("b", price="1", id_="late rival"), partition=0)
    await world.apply_beside(written(placed("b")), written(placed("c")), written(attributes("c", 3, "order.confirmed")))
    await world.apply(0)
    await world.apply_beside(written(attributes("a", 2, "order.confirmed")))
    found = await world.verify()
    assert told(found) == []
    assert found.only_in_database.count == 4
    assert "an applied event: order b, version 1, id b-1" in found.only_in_database.examples
    assert "a parked event: order c, version 3, id c-3" in found.only_in_database.examples
    await clean(world)
    strict = await world.verify(strict=True)
    assert strict.checks["events_only_in_database"].differences == strict.differences == 4
    await world.tell(placed("b"), placed("c"), attributes("c", 3, "order.confirmed"), partition=1)
    await world.tell(attributes("a", 2, "order.confirmed"), partition=1)
    await world.apply(1)
    found = await world.verify(strict=True)
    assert (told(found), found.only_in_database.count) == ([], 0)


async def test_an_erasure_that_the_log_no_longer_has_is_told(world: World) -> None:
    await world.tell(placed("a"), attributes("a", 2, "order.confirmed"), placed("b"), partition=0)
    await world.apply(0)
    await world.apply_beside(Tombstone("a", NO_RECORD))
    found = await world.verify()
    assert (told(found), found.erased_without_tombstone.examples) == ([], ["order a"])
    assert (await world.verify(strict=True)).differences == 1
    await clean(world)
    await world.erase("a")
    await world.apply(0)
    assert told(await world.verify(strict=True)) == []


async def test_a_topic_made_anew_leaves_letters_whose_records_are_gone(world: World) -> None:
    await world.send(deliveries_of([record(order="a"), record(order="a", id="rival"), Rec(value=b"{")]), partition=0)
    await world.apply(0)
    digests = "UPDATE projector.dead_letters SET value = value || ' '"  # another record was at these offsets
    await world.execute(digests)
    found = await world.verify()
    assert told(found) == [f"dead_letters o-1 {world.topic}/0 at offset 2 missing"]
    assert found.letters_without_record.count == 1


@pytest.mark.parametrize("source", SOURCES)
async def test_a_sample_is_of_the_same_orders_each_time_and_sums_are_of_all(world: World, source: str) -> None:
    await world.send(stream(200, 5, topic=world.topic))
    await world.work()
    plan: dict[str, Any] = {"source": source, "size": 100}
    whole = counted(await world.verify(**plan))
    found = counted(await world.verify(sample=Sample(Decimal(20), 4), **plan))
    assert 10 < found["order_summary"] < 80
    assert found == counted(await world.verify(sample=Sample(Decimal(20), 4), **plan))
    assert {found["order_summary"]} != {
        counted(await world.verify(sample=Sample(Decimal(20), 5), **plan))["order_summary"]
    }
    assert found["customer_summary"] == whole["customer_summary"]
    assert counted(await world.verify(sample=Sample(Decimal(100), 1), **plan)) == whole
    await world.execute("UPDATE projector.customer_summary SET revenue = revenue + 1")
    assert (await world.verify(sample=Sample(Decimal("0.0001"), 1), **plan)).checks["customer_summary"].differences > 10


async def test_a_sample_takes_the_same_orders_from_the_log_and_in_the_database(world: World) -> None:
    await world.send(stream(200, 5, topic=world.topic))
    await world.work()
    by_log, by_journal = [
        counted(await world.verify(source=source, sample=Sample(Decimal(20), 4))) for source in SOURCES
    ]
    assert by_log == {**by_journal, "dead_letters": 0}


async def test_only_what_is_named_is_checked(world: World) -> None:
    await world.tell(placed("a"), partition=0)
    await world.apply(0)
    await world.execute("UPDATE projector.product_sales_daily SET units = 7")
    assert (await world.verify(names=("order_summary", "customer_summary"))).checks.keys() == {
        "order_summary",
        "customer_summary",
    }
    assert await world.differences(names=("order_summary", "customer_summary")) == []
    assert await world.differences(names=("product_sales_daily",)) == ["product_sales_daily sku-1 2026-03-01 EUR units"]


async def test_one_order_alone(world: World) -> None:
    await world.tell(placed("a"), placed("b"), partition=0)
    await world.apply(0)
    await world.execute("UPDATE projector.orders SET carrier = 'x'")
    plan = {"source": "journal", "order_id": "a"}
    found = await world.verify(**plan)
    assert told(found) == ["order_summary a carrier"]
    assert found.not_checked.keys() == {"customer_summary", "product_sales_daily"}


async def test_a_read_model_of_ones_own_is_checked_by_its_own_code(
    kafka_bootstrap: str, database_url: str, make_topic: MakeTopic
) -> None:
    models = (*READ_MODELS, OrdersByCountry())
    world = World(settings_for(kafka_bootstrap, database_url, await make_topic(partitions=1)), models)
    connection = await asyncpg.connect(database_url)
    await install(connection, models)
    await connection.close()
    sent = stream(40, 5, topic=world.topic)
    await world.send(sent)
    await world.apply(0)
    for source in SOURCES:
        found = await world.verify(source=source, size=10)
        assert told(found) == []
        assert found.checks["orders_by_country"].own
        assert found.checks["orders_by_country"].expected > 2
    await world.execute("UPDATE projector.orders_by_country SET orders = orders + 1 WHERE country = 'NL'")
    assert set(await world.differences(source="journal")) == {
        f"orders_by_country NL {currency} orders" for currency in ("EUR", "GBP", "USD")
    }
