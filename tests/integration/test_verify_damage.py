"""`projector verify` finds and names whatever is not as it was sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition

from consumer.read_models import READ_MODELS
from runtime.kafka import delete_topics, ensure_topics
from schemas.errors import Refused
from testkit.databases import apply_migrations, create_database, drop_database, fresh_name
from testkit.plugin import MakeTopic
from tests.support.damage import DAMAGE
from tests.support.engine import attributes, placed
from tests.support.events import Rec
from tests.support.fleet import settings_for
from tests.support.redelivery import confirmed, shipped
from tests.support.streams import deliveries_of
from tests.support.verification import World, told

pytestmark = pytest.mark.apache_kafka

PAID: dict[str, Any] = {"payment_id": "p", "amount": "25.00"}


@pytest_asyncio.fixture(scope="module")
async def pristine(postgres_url: str, kafka_bootstrap: str, kafka_admin: AIOKafkaAdminClient) -> AsyncIterator[World]:
    """Four orders (ready to be sent, shipped, waiting, with letters), and one that was erased."""
    name, topic = fresh_name("verify"), fresh_name("verify")
    url = await create_database(postgres_url, name)
    await apply_migrations(url, READ_MODELS)
    world = World(settings_for(kafka_bootstrap, url, topic))
    await ensure_topics(world.settings, [topic], 2)
    paid = [attributes(order, 3, "order.payment_captured", PAID) for order in "ab"]
    await world.tell(placed("a"), confirmed("a", 2), paid[0])
    await world.tell(placed("b", customer="c-2"), confirmed("b", 2), paid[1], shipped("b", 4))
    await world.tell(placed("c", customer="c-3"), confirmed("c", 3), placed("e"), partition=1)
    await world.tell(placed("d"), placed("d", id_="rival"), placed("d", 2), partition=1)
    await world.erase("e", partition=1)
    await world.send(deliveries_of([Rec(key=b"broken", value=b"{"), Rec(key=b"", value=b"{")]), partition=1)
    await world.apply(0, 1)
    yield world
    await drop_database(postgres_url, name)
    await delete_topics(world.settings, [topic])


@pytest_asyncio.fixture
async def world(pristine: World, postgres_url: str) -> AsyncIterator[World]:
    """The same, to be damaged."""
    url = pristine.settings.database_url.get_secret_value()
    name = fresh_name("damaged")
    copy = await create_database(postgres_url, name, urlsplit(url).path.removeprefix("/"))
    yield World(settings_for(pristine.settings.kafka_bootstrap_servers, copy, pristine.topic))
    await drop_database(postgres_url, name)


async def test_nothing_is_found_before_anything_is_damaged(world: World) -> None:
    for source in ("log", "journal"):
        assert await world.differences(source=source, strict=True) == []


@pytest.mark.parametrize("source", ["log", "journal"])
@pytest.mark.parametrize("damage", DAMAGE)
async def test_damage_is_found_and_named(world: World, damage: str, source: str) -> None:
    statements, by_log, by_journal = DAMAGE[damage]
    await world.execute(*statements.split("; "))
    found = await world.differences(source=source, limit=100)
    expected = by_log if source == "log" or by_journal is None else by_journal
    assert sorted(found) == sorted(line.format(topic=world.topic) for line in expected), found


async def test_a_ledger_whose_sources_are_gone_is_found(world: World) -> None:
    await world.execute("DELETE FROM projector.event_sources")
    for source in ("log", "journal"):
        assert "order_timeline a 1 missing" in await world.differences(source=source)


async def test_small_ranges_find_the_same(world: World) -> None:
    await world.execute("UPDATE projector.orders SET carrier = 'x', total = total + 1")
    whole, pieces = [await world.differences(size=size, limit=100) for size in (25_000, 1)]
    assert sorted(whole) == sorted(pieces)
    assert len(whole) > 6


async def test_differences_are_counted_beyond_those_that_are_kept(world: World) -> None:
    await world.execute("UPDATE projector.orders SET carrier = 'x'")
    found = await world.verify(limit=2)
    assert (found.checks["order_summary"].differences, len(found.checks["order_summary"].first)) == (4, 2)


async def test_a_log_without_its_beginning_is_refused_and_the_journal_does(
    world: World, kafka_admin: AIOKafkaAdminClient, make_topic: MakeTopic
) -> None:
    topic = await make_topic(partitions=2)
    other = World(world.settings.model_copy(update={"topics": (topic,)}))
    await other.tell(placed("y"), placed("z"), partition=1)
    await kafka_admin.delete_records({TopicPartition(topic, 1): RecordsToDelete(before_offset=1)})
    assert await other.differences(source="journal") == []
    await other.verify()  # nothing of it was applied
    await other.execute(f"INSERT INTO projector.checkpoints (topic, partition, next_offset) VALUES ('{topic}', 1, 2)")
    with pytest.raises(Refused, match=rf"{topic}/1 begins at 1: .*--source journal"):
        await other.verify()
    assert await other.differences(source="journal") == []
    await kafka_admin.delete_records({TopicPartition(topic, 1): RecordsToDelete(before_offset=2)})
    with pytest.raises(Refused, match=rf"{topic}/1 begins at 2: "):
        await other.verify()


async def test_a_log_that_was_lost_is_refused(world: World) -> None:
    await world.execute("UPDATE projector.checkpoints SET next_offset = 100 WHERE partition = 1")
    with pytest.raises(Refused, match=rf"{world.topic}/1 ends at 9, and was applied up to 100: the log was lost"):
        await world.verify()
    await world.execute("UPDATE projector.checkpoints SET partition = 7 WHERE partition = 1")
    with pytest.raises(Refused, match=rf"{world.topic}/7 is not there any more"):
        await world.verify()


async def test_what_is_not_there_is_refused(world: World) -> None:
    with pytest.raises(Refused, match="no read model x: there are order_summary, "):
        await world.verify(names=("order_summary", "x"))
    with pytest.raises(Refused, match="nothing is known of an order x"):
        await world.verify(source="journal", order_id="x")
    with pytest.raises(Refused, match="customer_summary: sums are of all orders"):
        await world.verify(source="journal", order_id="a", names=("customer_summary",))
    await world.execute("UPDATE projector.read_models SET fingerprint = '' WHERE name = 'fulfilment_queue'")
    with pytest.raises(Refused, match="another make"):
        await world.verify()
    assert told(await world.verify(names=("customer_summary",))) == []
