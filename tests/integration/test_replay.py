"""A slice of a real log through the live path once more: what is known stays as it is, what is missing comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer

from consumer import log_slice
from consumer.log_slice import Bound
from consumer.read_models import READ_MODELS
from consumer.replay import Replay
from runtime.kafka import Ends, observer
from runtime.settings import Settings
from schemas.connection import Connection
from schemas.errors import Refused
from testkit.plugin import MakeTopic
from tests.support.events import record
from tests.support.fleet import settings_for, stands, working
from tests.support.streams import Stream, deliveries_of, demo_stream, differences, publish, send

pytestmark = pytest.mark.apache_kafka

EVERYTHING = (None, None)
_TABLES = "SELECT relname FROM pg_stat_user_tables WHERE schemaname = 'projector' AND relname <> 'orders'"


@pytest_asyncio.fixture
async def settings(kafka_bootstrap: str, database_url: str, make_topic: MakeTopic) -> Settings:
    return settings_for(kafka_bootstrap, database_url, await make_topic(partitions=3))


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def replay(
    settings: Settings,
    bounds: tuple[Bound | None, Bound | None] = EVERYTHING,
    *,
    partitions: Sequence[int] = (),
    order_id: str | None = None,
    execute: bool = True,
) -> Replay:
    first, end = bounds
    async with (
        asyncpg.create_pool(settings.database_url.get_secret_value(), min_size=1, max_size=1) as pool,
        observer(settings) as consumer,
    ):
        spans = await log_slice.bounded(consumer, settings.topics, partitions=partitions, first=first, end=end)
        done = Replay(pool, READ_MODELS, execute=execute, order_id=order_id)
        async for batch in log_slice.records(consumer, spans, 50):
            await done.take(batch)
        return done


async def sent_to(settings: Settings, what: Stream | Sequence[Any], **more: Any) -> dict[Any, int]:
    [topic] = settings.topics
    return await publish(settings.kafka_bootstrap_servers, topic, what, **more)


async def rows(database: Connection) -> dict[str, list[str]]:
    """Everything in the tables of ours, as text; but for the orders, which count how often they were written."""
    tables = await database.fetch(_TABLES)
    found = {}
    for table in tables:
        name = table["relname"]
        found[name] = [
            row["t"] for row in await database.fetch(f"SELECT t::text FROM projector.{name} AS t ORDER BY 1")
        ]
    return found


async def test_what_a_fleet_has_applied_is_known_and_nothing_changes(settings: Settings, database: Connection) -> None:
    [topic] = settings.topics
    sent = demo_stream(60, topic=topic).shuffled(seed=1)
    ends = await sent_to(settings, sent)
    async with working(settings) as worker:
        await worker.caught_up(ends)
    before = await rows(database)
    done = await replay(settings)
    assert done.read == len(sent.deliveries)
    assert {name for name, count in done.counts.items() if count} <= {"duplicate", "unreadable", "erased"}
    assert await rows(database) == before
    assert await differences(database, sent.settled()) == []


async def test_what_a_checkpoint_was_moved_past_is_applied(settings: Settings, database: Connection) -> None:
    """As an operator does who has to get past something: nothing of it is lost that Kafka holds."""
    [topic] = settings.topics
    sent = demo_stream(60, topic=topic).shuffled(seed=2)
    ends = await sent_to(settings, sent)
    for place, end in ends.items():
        await database.execute(
            "INSERT INTO projector.checkpoints (topic, partition, next_offset) VALUES ($1, $2, $3)", *place, end
        )
    judged = await replay(settings, execute=False)
    assert judged.read == len(sent.deliveries)
    assert await database.fetchval("SELECT count(*) FROM projector.ledger") == 0
    done = await replay(settings)
    lasting = sum(map(len, sent.settled().applied.values()))
    assert done.counts["applied"] >= lasting > 0  # of an order that is erased, some may have been applied before
    assert await differences(database, sent.settled()) == []
    assert await stands(database, ends) == ends


async def test_beside_a_fleet_at_work_nothing_counts_twice(settings: Settings, database: Connection) -> None:
    [topic] = settings.topics
    sent = demo_stream(100, topic=topic).shuffled(seed=3)
    ends = await sent_to(settings, sent)
    async with working(settings.model_copy(update={"batch_size": 20})) as worker:
        await replay(settings)
        await worker.caught_up(ends)
    assert await differences(database, sent.settled()) == []


async def test_of_one_order_only_its_records_are_applied(settings: Settings, database: Connection) -> None:
    orders = ("a", "b")
    events = [record(order=order) for order in orders]
    events += [record(type_="confirmed", version=2, order=order) for order in orders]
    await sent_to(settings, deliveries_of(events))
    done = await replay(settings, order_id="b")
    assert (done.read, done.counts["applied"]) == (4, 2)
    assert [tuple(row) for row in await database.fetch("SELECT order_id, version FROM read_model.order_summary")] == [
        ("b", 2)
    ]


@pytest.mark.parametrize(
    ("bounds", "offsets"),
    [
        ((None, None), (0, 5)),
        ((2, None), (2, 5)),
        ((None, 2), (0, 2)),
        ((1, 3), (1, 3)),
        ((4, 2), (4, 4)),
        ((9, 99), (5, 5)),
    ],
)
async def test_offsets_bound_it_the_last_one_excluded(
    settings: Settings, bounds: tuple[Bound | None, Bound | None], offsets: tuple[int, int]
) -> None:
    await sent_to(settings, deliveries_of([record(order=f"o-{n}") for n in range(5)]), partition=1)
    async with observer(settings) as consumer:
        first, end = bounds
        spans = await log_slice.bounded(consumer, settings.topics, partitions=[1], first=first, end=end)
        assert list(spans.values()) == [Ends(*offsets)]
        found = [one.offset async for batch in log_slice.records(consumer, spans, 2) for one in batch]
    assert found == list(range(*offsets))


async def test_times_bound_it_as_kafka_has_them(settings: Settings) -> None:
    [topic] = settings.topics
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers) as producer:
        for minute in range(5):
            at = int((noon + timedelta(minutes=minute)).timestamp() * 1000)
            await producer.send_and_wait(topic, b"x", partition=0, timestamp_ms=at)
    async with observer(settings) as consumer:
        for first, end, expected in (
            (noon + timedelta(minutes=2), None, (2, 5)),
            (None, noon + timedelta(minutes=2), (0, 2)),
            (noon + timedelta(seconds=30), noon + timedelta(minutes=4), (1, 4)),
            (noon + timedelta(hours=1), None, (5, 5)),
        ):
            spans = await log_slice.bounded(consumer, settings.topics, partitions=[0], first=first, end=end)
            assert list(spans.values()) == [Ends(*expected)]


async def test_a_slice_that_ends_with_a_transactions_marker_ends(settings: Settings) -> None:
    [topic] = settings.topics
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers, transactional_id=topic) as producer:
        for kept in (True, False):
            await producer.begin_transaction()
            await send(producer, topic, deliveries_of([record(order=f"kept-{kept}")]), partition=0)
            await (producer.commit_transaction() if kept else producer.abort_transaction())
    done = await replay(settings)
    assert (done.read, done.counts["applied"]) == (1, 1)


async def test_a_partition_that_is_not_there_is_refused(settings: Settings) -> None:
    with pytest.raises(Refused, match="has no partition 7"):
        await replay(settings, partitions=[0, 7])


async def test_what_postgresql_refuses_is_judged_alone(settings: Settings, database: Connection) -> None:
    await database.execute(
        "ALTER TABLE projector.ledger ADD CONSTRAINT small CHECK (order_id <> 'o-3')",
    )
    await sent_to(settings, deliveries_of([record(order=f"o-{n}") for n in range(5)]), partition=1)
    judged = await replay(settings, execute=False)
    assert (judged.counts["applied"], judged.counts["unreadable"]) == (4, 1)
    done = await replay(settings)
    assert (done.counts["applied"], done.counts["unreadable"]) == (4, 1)
