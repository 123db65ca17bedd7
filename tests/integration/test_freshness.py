"""How far behind: the figures of `projector status`, from a real log and real checkpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
import pytest_asyncio

from consumer import freshness
from runtime.kafka import observer
from runtime.settings import Settings
from schemas.connection import Connection
from schemas.errors import Unavailable
from testkit.plugin import MakeTopic
from tests.support.events import Rec, record
from tests.support.fleet import settings_for, working
from tests.support.streams import Ends, deliveries_of, publish, stream


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


def at(ago: timedelta, order: str = "o-1", version: int = 1) -> Rec:
    """An order's event that happened so long ago."""
    return record(order=order, version=version, time=(datetime.now(UTC) - ago).isoformat())


async def stand(database: Connection, ends: Ends, *, back: int = 0) -> None:
    """Put checkpoints where the logs end, or that many records before."""
    for place, end in ends.items():
        await database.execute(
            "INSERT INTO projector.checkpoints (topic, partition, next_offset) VALUES ($1, $2, $3)", *place, end - back
        )


async def send(settings: Settings, *records: Rec, partition: int = 0) -> Ends:
    bootstrap, [topic] = settings.kafka_bootstrap_servers, settings.topics
    return await publish(bootstrap, topic, deliveries_of(records), partition=partition)


@pytest_asyncio.fixture
async def settings(kafka_bootstrap: str, database_url: str, make_topic: MakeTopic) -> Settings:
    return settings_for(kafka_bootstrap, database_url, await make_topic(partitions=3))


async def test_a_topic_that_never_had_a_record_is_fresh(database: Connection, settings: Settings) -> None:
    found = await freshness.status(database, settings)
    assert (found.lag, found.staleness) == (0, 0.0)
    assert [(one.next_offset, one.end_offset, one.owner) for one in found.partitions] == [(0, 0, None)] * 3


async def test_an_idle_topic_that_is_caught_up_stays_fresh(database: Connection, settings: Settings) -> None:
    async with working(settings) as worker:
        await worker.caught_up(await send(settings, at(timedelta(days=400))))
    found = [await freshness.status(database, settings) for _ in range(2)]
    assert [(one.lag, one.staleness) for one in found] == [(0, 0.0)] * 2


async def test_staleness_is_the_age_of_the_oldest_event_not_applied_and_grows(
    database: Connection, settings: Settings
) -> None:
    ages = (timedelta(hours=9), timedelta(hours=3), timedelta(hours=5))  # the first is applied already
    await stand(database, await send(settings, *(at(age, f"o-{age}") for age in ages)), back=2)
    first = await freshness.status(database, settings)
    second = await freshness.status(database, settings)
    assert first.lag == second.lag == 2
    assert timedelta(hours=3).total_seconds() <= first.staleness < timedelta(hours=3, minutes=2).total_seconds()
    assert second.staleness > first.staleness


async def test_a_partition_nobody_has_taken_yet_is_behind_from_its_first_record(
    database: Connection, settings: Settings
) -> None:
    await send(settings, at(timedelta(hours=1)), at(timedelta(hours=1), "o-2"))
    found = await freshness.status(database, settings)
    assert found.lag == 2
    assert found.staleness >= 3600


async def test_the_slowest_partition_is_first_and_speaks_for_all(database: Connection, settings: Settings) -> None:
    await send(settings, at(timedelta(hours=1)), at(timedelta(hours=1), "o-2"), partition=0)
    await send(settings, at(timedelta(hours=8)), partition=2)
    await stand(database, await send(settings, at(timedelta(days=9)), partition=1))
    found = await freshness.status(database, settings)
    assert [(one.partition, one.lag) for one in found.partitions] == [(2, 1), (0, 2), (1, 0)]
    assert found.lag == 3
    assert found.staleness == found.partitions[0].staleness >= timedelta(hours=8).total_seconds()


async def test_an_event_from_the_future_is_behind_but_not_stale(database: Connection, settings: Settings) -> None:
    await send(settings, at(-timedelta(hours=1)))
    found = await freshness.status(database, settings)
    assert (found.lag, found.staleness) == (1, 0.0)


async def test_of_a_record_that_is_no_event_kafkas_time_counts(database: Connection, settings: Settings) -> None:
    await send(settings, Rec(value=b"no event"))
    found = await freshness.status(database, settings)
    assert found.lag == 1
    assert 0 < found.staleness < 60


async def test_lag_alone_says_the_same(database: Connection, settings: Settings) -> None:
    await stand(database, await send(settings, *(at(timedelta(hours=1), f"o-{n}") for n in range(7))), back=3)
    await send(settings, at(timedelta(hours=1), "x"), partition=1)
    async with observer(settings) as consumer:
        found = [await freshness.lag(database, consumer, settings.topics) for _ in range(2)]
    assert found == [4, 4]


async def test_what_a_worker_leaves_behind_is_told(database: Connection, settings: Settings) -> None:
    [topic] = settings.topics
    when = timedelta(hours=2)
    ends = await send(settings, Rec(value=b"no event"), at(when, version=3), at(when, version=4), at(when, "o-2", 2))
    async with working(settings, "the-owner") as worker:
        await worker.caught_up(ends)
        found = await freshness.status(database, settings)
    assert (found.parked, found.parked_orders) == (3, 2)
    assert found.parked_oldest_at is not None
    assert datetime.now(UTC) - found.parked_oldest_at < timedelta(minutes=1)  # since when it waits
    assert found.dead_letters == {"unreadable": 1}
    [mine] = [one for one in found.partitions if one.partition == 0]
    assert (mine.topic, mine.next_offset, mine.end_offset, mine.owner) == (topic, 4, 4, "the-owner")
    assert mine.last_event_at is not None
    assert timedelta(hours=2) <= datetime.now(UTC) - mine.last_event_at < timedelta(hours=2, minutes=2)


async def test_letters_that_are_resolved_are_not_counted(database: Connection, settings: Settings) -> None:
    ends = await send(settings, Rec(value=b"one"), Rec(value=b"another"))
    async with working(settings) as worker:
        await worker.caught_up(ends)
    await database.execute('UPDATE projector.dead_letters SET resolved_at = now() WHERE "offset" = 0')
    assert (await freshness.status(database, settings)).dead_letters == {"unreadable": 1}


async def test_several_topics_are_looked_at_together(
    database: Connection, kafka_bootstrap: str, database_url: str, make_topic: MakeTopic
) -> None:
    topics = [await make_topic(partitions=1), await make_topic(partitions=2)]
    for topic in topics:
        await publish(kafka_bootstrap, topic, stream(3, seed=1, topic=topic), partition=0)
    found = await freshness.status(database, settings_for(kafka_bootstrap, database_url, *topics))
    assert [(one.topic in topics, one.partition) for one in found.partitions[:2]] == [(True, 0)] * 2
    assert len(found.partitions) == 3


async def test_a_topic_that_is_not_there_is_named(
    database: Connection, kafka_bootstrap: str, database_url: str
) -> None:
    with pytest.raises(Unavailable, match="no topic no-such-topic"):
        await freshness.status(database, settings_for(kafka_bootstrap, database_url, "no-such-topic"))


async def test_a_partition_whose_next_record_does_not_come_in_time_is_not_said_to_be_fresh(
    database: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freshness, "_LOOK", 0)
    await stand(database, await send(settings, at(timedelta(hours=9)), at(timedelta(hours=3), "o-2")), back=1)
    with pytest.raises(Unavailable, match="applied next"):
        await freshness.status(database, settings)
    await database.execute("UPDATE projector.checkpoints SET last_event_at = now() - interval '9 h'")
    found = await freshness.status(database, settings)
    assert (found.lag, round(found.staleness / 3600)) == (1, 9)  # at least as old as it is
