"""A worker on a real broker and a real database: where it begins, where it goes on, what it makes of what it finds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from consumer.checkpoints import Place
from schemas.connection import Connection
from schemas.errors import Refused
from testkit.deadline import eventually
from testkit.plugin import MakeTopic
from tests.support.events import record
from tests.support.fleet import Running, settings_for, stands, working
from tests.support.streams import Ends, deliveries_of, demo_stream, differences, plain_stream, publish, stream


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Connection]:
    """A connection to the database that the worker writes."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def committed(admin: AIOKafkaAdminClient, group: str, places: Ends) -> Ends:
    """What Kafka was told of these partitions; -1 where nothing."""
    asked = [TopicPartition(*place) for place in places]
    found = await admin.list_consumer_group_offsets(group, partitions=asked)
    return {Place(*one): metadata.offset for one, metadata in found.items()}


def outcomes(worker: Running) -> dict[str, int]:
    """Records by what became of them; `unknown_type` says something more about applied ones."""
    return {name: count for name, count in worker.observation.counts.items() if count and name != "unknown_type"}


async def test_a_stream_in_any_order_is_applied_whole(
    kafka_bootstrap: str, database_url: str, topic: str, database: Connection
) -> None:
    sent = demo_stream(150, topic=topic).shuffled(seed=7)
    ends = await publish(kafka_bootstrap, topic, sent)
    async with working(settings_for(kafka_bootstrap, database_url, topic, batch_size=200)) as worker:
        await worker.caught_up(ends)
    assert await differences(database, sent.settled()) == []
    assert worker.observation.batches > 4


@pytest.mark.apache_kafka  # Tansu takes offsets from members only
@pytest.mark.parametrize("lie", ["the end", "the beginning"])
async def test_kafkas_committed_offset_decides_nothing(
    kafka_bootstrap: str, database_url: str, topic: str, database: Connection, lie: str
) -> None:
    settings = settings_for(kafka_bootstrap, database_url, topic)
    whole = plain_stream(60, seed=8, topic=topic)
    first, rest = whole.halves()
    async with working(settings) as worker:
        await worker.caught_up(await publish(kafka_bootstrap, topic, first))
    ends = await publish(kafka_bootstrap, topic, rest)
    async with AIOKafkaConsumer(bootstrap_servers=kafka_bootstrap, group_id=settings.group_id) as liar:
        told = {TopicPartition(*place): end if lie == "the end" else 0 for place, end in ends.items()}
        liar.assign(list(told))
        await liar.commit(told)
    async with working(settings) as worker:
        await worker.caught_up(ends)
    assert outcomes(worker) == {"applied": len(rest.deliveries)}
    assert await differences(database, whole.settled()) == []


async def test_a_restart_goes_on_where_it_stood_with_nothing_twice(
    kafka_bootstrap: str, database_url: str, topic: str, database: Connection
) -> None:
    settings = settings_for(kafka_bootstrap, database_url, topic)
    whole = plain_stream(60, seed=9, topic=topic)
    first, rest = whole.halves()
    async with working(settings) as before:
        await before.caught_up(await publish(kafka_bootstrap, topic, first))
    ends = await publish(kafka_bootstrap, topic, rest)
    async with working(settings_for(kafka_bootstrap, database_url, topic, group_id=f"{topic}-new")) as after:
        await after.caught_up(ends)
    assert outcomes(before) == {"applied": len(first.deliveries)}
    assert outcomes(after) == {"applied": len(rest.deliveries)}
    assert await differences(database, whole.settled()) == []


async def test_nothing_is_read_again_when_the_checkpoint_stands_at_the_end(
    kafka_bootstrap: str, database_url: str, make_topic: MakeTopic
) -> None:
    topic = await make_topic(partitions=1)
    settings = settings_for(kafka_bootstrap, database_url, topic)
    async with working(settings) as worker:
        await worker.caught_up(await publish(kafka_bootstrap, topic, stream(5, seed=1, topic=topic)))
    async with working(settings) as worker:
        await worker.caught_up(await publish(kafka_bootstrap, topic, deliveries_of([record(order="new")])))
    assert worker.observation.batches == 1
    assert outcomes(worker) == {"applied": 1}


async def test_kafka_is_told_only_what_the_database_has(
    kafka_bootstrap: str, database_url: str, topic: str, database: Connection, kafka_admin: AIOKafkaAdminClient
) -> None:
    settings = settings_for(kafka_bootstrap, database_url, topic)
    async with working(settings) as worker:
        ends = await publish(kafka_bootstrap, topic, stream(30, seed=2, topic=topic))
        await worker.caught_up(ends)

        async def follows() -> bool:
            return await committed(kafka_admin, settings.group_id, ends) == ends

        await eventually(follows)  # a courtesy to lag tools
        async with database.transaction():
            await database.execute("LOCK TABLE projector.orders IN ACCESS EXCLUSIVE MODE")
            more = await publish(kafka_bootstrap, topic, stream(30, seed=3, topic=topic))
            await eventually(lambda: database.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))
            assert await committed(kafka_admin, settings.group_id, ends) == ends  # nothing that isn't committed
        await worker.caught_up(more)


async def test_kafka_is_not_told_of_a_batch_that_is_in_hand(
    kafka_bootstrap: str, database_url: str, make_topic: MakeTopic, kafka_admin: AIOKafkaAdminClient
) -> None:
    topic = await make_topic(partitions=1)
    one_by_one = {"lanes": 1, "batch_size": 10, "failpoints": "mid_tx=sleep(3):2"}
    settings = settings_for(kafka_bootstrap, database_url, topic, **one_by_one)
    ends = await publish(kafka_bootstrap, topic, plain_stream(10, seed=4, topic=topic))

    async def told() -> int:
        return (await committed(kafka_admin, settings.group_id, ends))[Place(topic, 0)]

    async with working(settings) as worker:
        await eventually(lambda: worker.observation.batches)
        assert await eventually(lambda: _positive(told)) == 10  # the second batch was fetched by then
        assert worker.observation.batches == 1
        await worker.caught_up(ends)


async def _positive(number: Callable[[], Awaitable[int]]) -> int:
    return max(await number(), 0)


@pytest.mark.apache_kafka
async def test_retention_that_overtook_the_checkpoint_stops_the_worker(
    kafka_bootstrap: str,
    database_url: str,
    make_topic: MakeTopic,
    database: Connection,
    kafka_admin: AIOKafkaAdminClient,
) -> None:
    topic = await make_topic(partitions=1)
    settings = settings_for(kafka_bootstrap, database_url, topic)
    async with working(settings) as worker:
        stood = await publish(kafka_bootstrap, topic, stream(5, seed=1, topic=topic))
        await worker.caught_up(stood)
    ends = await publish(kafka_bootstrap, topic, stream(5, seed=2, topic=topic))
    [gone] = ends.values()
    await kafka_admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=gone - 1)})
    async with working(settings) as worker:
        failure = await worker.failure()
    assert isinstance(failure, Refused)
    assert f"{topic}/0: the checkpoint stands at {stood[Place(topic, 0)]}" in str(failure)
    assert f"begins at {gone - 1}: retention took events" in str(failure)
    assert await stands(database, stood) == stood


@pytest.mark.apache_kafka
async def test_a_log_that_ends_before_the_checkpoint_stops_the_worker(
    kafka_bootstrap: str, database_url: str, make_topic: MakeTopic, database: Connection
) -> None:
    topic = await make_topic(partitions=1)
    settings = settings_for(kafka_bootstrap, database_url, topic)
    await database.execute(
        "INSERT INTO projector.checkpoints (topic, partition, next_offset) VALUES ($1, 0, 1000)", topic
    )
    await publish(kafka_bootstrap, topic, stream(5, seed=1, topic=topic))
    async with working(settings) as worker:
        failure = await worker.failure()
    assert isinstance(failure, Refused)
    assert "the topic was made anew" in str(failure)
    assert await database.fetchval("SELECT count(*) FROM projector.orders") == 0


async def test_a_record_over_a_mebibyte_is_a_dead_letter_and_its_neighbours_are_applied(
    kafka_bootstrap: str, database_url: str, make_topic: MakeTopic, database: Connection
) -> None:
    topic = await make_topic(partitions=1)
    huge = record("structured", order="huge", padding="x" * (2**20 + 2**19))
    around = [record(order="before"), huge, record(order="after")]
    ends = await publish(kafka_bootstrap, topic, deliveries_of(around))
    async with working(settings_for(kafka_bootstrap, database_url, topic)) as worker:
        await worker.caught_up(ends)
    rows = await database.fetch("SELECT order_id FROM read_model.order_summary ORDER BY order_id")
    assert [row["order_id"] for row in rows] == ["after", "before"]
    letter = await database.fetchrow('SELECT reason, "offset", error, value FROM projector.dead_letters')
    assert letter is not None
    assert (letter["reason"], letter["offset"], letter["value"]) == ("unreadable", 1, huge.value)
    assert "1 MiB" in letter["error"] or "1,048,576" in letter["error"] or "1048576" in letter["error"]


async def test_an_event_without_a_key_is_applied(
    kafka_bootstrap: str, database_url: str, topic: str, database: Connection
) -> None:
    sent = [record(encoding, order=encoding, key=None) for encoding in ("binary", "structured")]
    ends = await publish(kafka_bootstrap, topic, deliveries_of(sent))
    async with working(settings_for(kafka_bootstrap, database_url, topic)) as worker:
        await worker.caught_up(ends)
    assert await database.fetchval("SELECT count(*) FROM read_model.order_summary") == 2


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
async def test_every_compression_is_read(
    kafka_bootstrap: str, database_url: str, make_topic: MakeTopic, database: Connection, compression: str
) -> None:
    topic = await make_topic(partitions=2)
    sent = stream(20, seed=5, topic=topic)
    ends = await publish(kafka_bootstrap, topic, sent, compression=compression)
    async with working(settings_for(kafka_bootstrap, database_url, topic)) as worker:
        await worker.caught_up(ends)
    assert await differences(database, sent.settled()) == []


async def test_two_workers_share_the_partitions_and_one_takes_over_from_the_other(
    kafka_bootstrap: str, database_url: str, topic: str, database: Connection
) -> None:
    settings = settings_for(kafka_bootstrap, database_url, topic, batch_size=100)
    whole = stream(120, seed=6, topic=topic)
    first, rest = whole.halves()

    async def owners() -> list[int]:
        rows = await database.fetch("SELECT count(*) AS n FROM projector.checkpoints GROUP BY owner ORDER BY owner")
        return [row["n"] for row in rows]

    async with working(settings, "one") as one:
        async with working(settings, "two") as two:
            await eventually(lambda: _equal(owners, [6, 6]), timeout=20)
            await one.caught_up(await publish(kafka_bootstrap, topic, first))
        assert one.observation.batches > 0
        assert two.observation.batches > 0
        await eventually(lambda: _equal(owners, [12]), timeout=20)  # it left the group: nobody waits for its session
        await one.caught_up(await publish(kafka_bootstrap, topic, rest))
    assert await differences(database, whole.settled()) == []


async def _equal(found: object, expected: object) -> bool:
    assert callable(found)
    result = await found()
    assert result == expected, result
    return True
