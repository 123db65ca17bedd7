"""Read models made anew from a real log: the same rows, whatever lies in it, and a database made from nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from consumer import reference
from consumer.archive import Archive
from consumer.checkpoints import Place
from consumer.rebuild.log_source import FromLog
from consumer.rebuild.run import Rebuild
from consumer.rebuild.terms import Options, Outcome
from runtime.settings import Settings
from schemas.connection import Connection
from schemas.errors import Refused
from testkit.plugin import MakeTopic
from tests.support.archives import archived
from tests.support.engine import attributes, placed, structured
from tests.support.events import Rec
from tests.support.fleet import settings_for, stands, working
from tests.support.redelivery import confirmed
from tests.support.streams import Stream, deliveries_of, demo_stream, differences, publish

pytestmark = pytest.mark.apache_kafka


@pytest_asyncio.fixture
async def settings(kafka_bootstrap: str, database_url: str, make_topic: MakeTopic) -> Settings:
    return settings_for(kafka_bootstrap, database_url, await make_topic(partitions=3))


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def rebuild(
    settings: Settings,
    *names: str,
    size: int = 40,
    chunk: int = 50,
    source_processes: int = 0,
    archive: str | None = None,
    **options: Any,
) -> Outcome:
    source = FromLog(settings, archive, source_processes, size, chunk)
    return await Rebuild(settings, source, Options(names=names, **{"processes": 0, **options})).run()


async def applied(settings: Settings, stream: Stream) -> dict[Any, int]:
    [topic] = settings.topics
    ends = await publish(settings.kafka_bootstrap_servers, topic, stream)
    async with working(settings) as worker:
        await worker.caught_up(ends)
    return ends


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_rebuild_from_the_log_leaves_the_same_rows(settings: Settings, database: Connection, seed: int) -> None:
    [topic] = settings.topics
    sent = demo_stream(120, seed, topic=topic)
    await applied(settings, sent.shuffled(seed) if seed == 2 else sent)
    done = await rebuild(settings)
    assert (done.state, done.comparison.counts) == ("swapped", {})
    assert done.names == ["orders", "customer_summary", "product_sales_daily", "fulfilment_queue", "order_timeline"]
    assert await differences(database, sent.shuffled(seed).settled() if seed == 2 else sent.settled()) == []


async def test_processes_share_the_work(settings: Settings, database: Connection) -> None:
    [topic] = settings.topics
    sent = demo_stream(120, 3, topic=topic)
    await applied(settings, sent)
    done = await rebuild(settings, processes=2, source_processes=2)
    assert (done.state, done.comparison.counts) == ("swapped", {})
    assert await differences(database, sent.settled()) == []


async def test_a_database_that_has_nothing_gets_everything_and_the_fleet_finds_it_all_known(
    settings: Settings, database: Connection
) -> None:
    [topic] = settings.topics
    sent = demo_stream(120, 4, topic=topic)
    ends = await publish(settings.kafka_bootstrap_servers, topic, sent)
    done = await rebuild(settings)
    assert done.state == "swapped"
    applied_before = await database.fetchval("SELECT count(*) FROM projector.ledger")
    assert applied_before > 0
    async with working(settings) as worker:
        await worker.caught_up(ends)
    assert await database.fetchval("SELECT count(*) FROM projector.ledger") == applied_before
    assert await stands(database, ends) == ends
    assert await differences(database, sent.settled()) == []


async def test_ledger_rows_that_are_lost_come_back(settings: Settings, database: Connection) -> None:
    [topic] = settings.topics
    sent = demo_stream(60, 5, topic=topic)
    await applied(settings, sent)
    await database.execute("DELETE FROM projector.ledger WHERE version = 2")
    assert (await rebuild(settings)).state == "differs"
    done = await rebuild(settings, accept=True)
    assert (done.state, done.resumed) == ("swapped", True)
    assert await differences(database, sent.settled()) == []


async def test_records_that_live_work_has_missed_are_in_and_what_waited_for_them_waits_no_more(
    settings: Settings, database: Connection
) -> None:
    """A checkpoint was moved past a record: what came after it is parked, and more may still come."""
    [topic] = settings.topics
    events = [placed("a"), confirmed("a", 2), attributes("a", 3, "order.delivered"), placed("b")]
    records = [Rec(key=event["subject"].encode(), value=structured(event)) for event in events]
    await publish(settings.kafka_bootstrap_servers, topic, deliveries_of(records[:1]), partition=0)
    async with working(settings) as worker:
        await worker.caught_up({Place(topic, 0): 1})
    await publish(settings.kafka_bootstrap_servers, topic, deliveries_of(records[1:]), partition=0)
    await database.execute("UPDATE projector.checkpoints SET next_offset = 2 WHERE partition = 0")
    async with working(settings) as worker:
        await worker.caught_up({Place(topic, 0): 4})
    assert await database.fetchval("SELECT count(*) FROM projector.parked_events") == 1
    assert (await rebuild(settings)).state == "differs"
    assert (await rebuild(settings, accept=True)).state == "swapped"
    assert await differences(database, reference.settle(map(reference.Event, events))) == []


async def test_an_event_that_two_orders_claim_is_the_one_s_that_had_it_first(
    settings: Settings, database: Connection
) -> None:
    """Its ids are unique no more: the second order ends before it, and what follows waits. Ranges of one order each
    can't see that; the ledger's index does."""
    events = [
        event
        for order in ("a", "b", "c", "d")
        for event in (placed(order), confirmed(order, 2), attributes(order, 3, "order.delivered"))
    ]
    claimed = [{**event, "id": "one-for-all"} if event["sequence"] == 2 else event for event in events]
    records = [Rec(key=event["subject"].encode(), value=structured(event)) for event in claimed]
    [topic] = settings.topics
    ends = await publish(settings.kafka_bootstrap_servers, topic, deliveries_of(records), partition=0)
    async with working(settings) as worker:
        await worker.caught_up(ends)
    done = await rebuild(settings, size=1)
    assert (done.state, done.comparison.counts) == ("swapped", {})
    settled = reference.settle([reference.Event(event) for event in claimed])
    assert await differences(database, settled) == []
    assert len(settled.parked) == 3


async def test_what_retention_has_cut_is_refused_and_an_archive_has_it(
    settings: Settings, database: Connection, kafka_admin: AIOKafkaAdminClient, tmp_path: Path
) -> None:
    [topic] = settings.topics
    first, second = demo_stream(120, 6, topic=topic).halves()
    await applied(settings, first)
    await archived(settings, str(tmp_path))
    await applied(settings, second)
    one = TopicPartition(topic, 1)
    await kafka_admin.delete_records({one: RecordsToDelete(before_offset=3)})
    with pytest.raises(Refused, match=f"Kafka's log of {topic}/1 begins at 3.*--source journal"):
        await rebuild(settings)
    assert await database.fetchval("SELECT count(*) FROM projector.rebuilds") == 0
    done = await rebuild(settings, archive=str(tmp_path))
    assert (done.state, done.comparison.counts) == ("swapped", {})
    whole = Stream([*first.deliveries, *second.deliveries])
    assert await differences(database, whole.settled()) == []
    end = Archive(str(tmp_path)).spans([topic])[one].end
    await kafka_admin.delete_records({one: RecordsToDelete(before_offset=end + 1)})
    with pytest.raises(Refused, match=f"begins at {end + 1}, and the archive holds offsets 0 to {end - 1}"):
        await rebuild(settings, archive=str(tmp_path))


async def test_a_log_that_has_lost_its_end_is_refused(settings: Settings, database: Connection) -> None:
    [topic] = settings.topics
    await applied(settings, demo_stream(60, 6, topic=topic))
    await database.execute("UPDATE projector.checkpoints SET next_offset = next_offset + 1000000")
    with pytest.raises(Refused, match="the log ends at"):
        await rebuild(settings)
