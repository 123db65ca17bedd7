"""Histories leave the ledger once they are archived, and what needs them has them from the log or the archive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from consumer.prune import Pruned, prune
from consumer.rebuild.log_source import FromLog
from consumer.rebuild.rollback import rollback
from consumer.rebuild.run import Rebuild
from consumer.rebuild.terms import Options, Outcome
from consumer.verification.findings import Findings
from consumer.verification.run import Plan, Source, verify
from runtime.settings import Settings
from schemas.connection import Connection
from schemas.errors import Refused
from testkit.deadline import eventually
from testkit.plugin import MakeTopic
from tests.support.archives import archived
from tests.support.engine import placed, structured
from tests.support.events import Rec
from tests.support.fleet import settings_for, working
from tests.support.streams import Ends, Stream, deliveries_of, demo_stream, differences, publish

pytestmark = pytest.mark.apache_kafka

AGES = timedelta(days=-36_500)  # before when all events happened, whatever time the shop says


@pytest_asyncio.fixture
async def settings(kafka_bootstrap: str, database_url: str, make_topic: MakeTopic) -> Settings:
    return settings_for(kafka_bootstrap, database_url, await make_topic(partitions=3))


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def applied(settings: Settings, *streams: Stream) -> Ends:
    [topic] = settings.topics
    ends: Ends = {}
    for one in streams:
        ends |= await publish(settings.kafka_bootstrap_servers, topic, one)
    async with working(settings) as worker:
        await worker.caught_up(ends)
    return ends


def orders(settings: Settings, *names: str) -> Stream:
    """Orders that are placed, and no more."""
    events = (placed(name) for name in names)
    return Stream([*deliveries_of([Rec(key=one["subject"].encode(), value=structured(one)) for one in events])])


async def long_ago(database: Connection) -> None:
    """All that was processed by now was so an hour before."""
    await database.execute("UPDATE projector.ledger SET processed_at = processed_at - interval '1 hour'")


async def rebuild(settings: Settings, archive: str | None = None) -> Outcome:
    return await Rebuild(settings, FromLog(settings, archive, 0, 40, 50), Options(processes=0)).run()


async def checked(settings: Settings, source: Source) -> Findings:
    return await verify(settings, Plan(source=source))


async def ledger(database: Connection) -> int:
    return int(await database.fetchval("SELECT count(*) FROM projector.ledger"))


async def test_what_is_archived_goes_and_a_rebuild_brings_it_back(
    settings: Settings, database: Connection, tmp_path: Path
) -> None:
    [topic] = settings.topics
    sent = demo_stream(80, 1, topic=topic)
    await applied(settings, sent)
    await long_ago(database)
    await archived(settings, str(tmp_path / "archive"))
    before = await ledger(database)
    done = await prune(settings, AGES, str(tmp_path / "archive"))
    left = await ledger(database)
    assert (done.orders > 0, done.events) == (True, before - left)

    outcome = await rebuild(settings, str(tmp_path / "archive"))
    assert (outcome.state, outcome.comparison.counts) == ("swapped", {})
    assert await ledger(database) == before
    assert await database.fetchval("SELECT count(*) FROM projector.pruned_orders") == 0
    assert await differences(database, sent.settled()) == []

    await rollback(settings)
    assert await ledger(database) == left
    assert await database.fetchval("SELECT count(*) FROM projector.pruned_orders") == done.orders


async def test_what_was_dropped_is_verified_by_the_log(settings: Settings, database: Connection) -> None:
    [topic] = settings.topics
    await applied(settings, demo_stream(80, 2, topic=topic))
    assert (await prune(settings, AGES, None)).orders > 0
    assert (await checked(settings, "log")).differences == 0
    with pytest.raises(Refused, match="verify by the log"):
        await checked(settings, "journal")
    await database.execute("UPDATE projector.pruned_orders SET version = version - 1 WHERE version > 1")
    assert (await checked(settings, "log")).differences > 0


async def test_what_was_processed_after_the_last_mark_that_the_archive_has_reached_stays(
    settings: Settings, database: Connection, tmp_path: Path
) -> None:
    archive = str(tmp_path / "archive")
    await applied(settings, orders(settings, "a", "b"))
    await long_ago(database)
    nothing: Pruned = await prune(settings, AGES, archive)
    assert (nothing.archived, nothing.orders) == (None, 0)
    await archived(settings, archive)
    await applied(settings, orders(settings, "c"))
    done = await prune(settings, AGES, archive)
    assert (done.archived is not None, done.orders) == (True, 2)
    assert [row["order_id"] for row in await database.fetch("SELECT order_id FROM projector.ledger")] == ["c"]
    await archived(settings, archive)
    assert (await prune(settings, AGES, archive)).orders == 0  # processed a moment ago: clocks may differ by that
    await long_ago(database)
    assert (await prune(settings, AGES, archive)).orders == 1
    assert await database.fetchval("SELECT count(DISTINCT noted_at) FROM projector.log_marks") == 1


async def test_a_dry_run_notes_nothing(settings: Settings, database: Connection, tmp_path: Path) -> None:
    await applied(settings, orders(settings, "a"))
    await long_ago(database)
    await archived(settings, str(tmp_path / "archive"))
    assert (await prune(settings, AGES, str(tmp_path / "archive"), dry=True)).orders == 1
    assert await database.fetchval("SELECT count(*) FROM projector.log_marks") == 0
    assert await ledger(database) == 1


async def test_an_archive_of_another_log_is_refused(
    settings: Settings, kafka_bootstrap: str, database: Connection, tmp_path: Path
) -> None:
    """It was made of a topic of the same name, which has been made anew since."""
    archive, [topic] = str(tmp_path / "archive"), settings.topics
    await applied(settings, orders(settings, "a", "b", "c", "d"))
    await archived(settings, archive)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([topic])
        await eventually(lambda: _gone(admin, topic), 30)
        await admin.create_topics([NewTopic(topic, 3, 1)])
    finally:
        await admin.close()
    await long_ago(database)
    with pytest.raises(Refused, match="but the log's is 0: the topic was made anew"):
        await prune(settings, AGES, archive)
    assert await ledger(database) == 4


async def _gone(admin: AIOKafkaAdminClient, topic: str) -> bool:
    return topic not in await admin.list_topics()


async def test_topics_of_which_no_archive_is_asked_are_named(
    settings: Settings, database: Connection, tmp_path: Path
) -> None:
    await applied(settings, orders(settings, "a"))
    await database.execute("UPDATE projector.checkpoints SET topic = 'another' WHERE next_offset > 0")
    await archived(settings, str(tmp_path / "archive"))
    with pytest.raises(Refused, match="has events of another too: name all topics in PROJECTOR_TOPICS"):
        await prune(settings, AGES, str(tmp_path / "archive"))


@pytest.mark.parametrize("lost", ["its beginning", "a part of it"])
async def test_an_archive_that_lacks_something_is_refused(
    settings: Settings, kafka_bootstrap: str, tmp_path: Path, lost: str
) -> None:
    [topic] = settings.topics
    archive = str(tmp_path / "archive")
    await applied(settings, demo_stream(40, 5, topic=topic))
    if lost == "a part of it":
        await archived(settings, archive)
        await applied(settings, demo_stream(40, 6, topic=topic))
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    try:
        one = TopicPartition(topic, 0)
        await admin.delete_records({one: RecordsToDelete(before_offset=-1)})
    finally:
        await admin.close()
    await applied(settings, demo_stream(40, 7, topic=topic))
    await archived(settings, archive, accept_gap=True)
    with pytest.raises(Refused, match=r"begins at offset|lacks"):
        await prune(settings, AGES, archive)
