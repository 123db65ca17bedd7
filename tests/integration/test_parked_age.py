"""What waits and for how long: exact while it is little, cheap when it is a lot."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import astuple
from typing import Any

import pytest_asyncio

from consumer import freshness
from runtime import postgres
from runtime.settings import load
from runtime.sql import Queries
from schemas.connection import Connection
from testkit.deadline import eventually

_PARK = """
INSERT INTO projector.parked_events (
    event_uuid, source_no, order_id, version, event_id, event_source, event_type, occurred_at,
    parked_at, topic, partition, "offset", "timestamp", headers
)
SELECT gen_random_uuid(), 1, 'o-' || n % 100, 2, 'e', '/shop', 'order.confirmed', now(),
       now() - make_interval(secs => $2), 'orders.events', 0, n, 0, '{}'
FROM generate_series(1, $1::integer) AS n
"""


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Connection]:
    """A connection as a worker has it."""
    async with postgres.pool(load({}, database_url=database_url), "test", 1) as pool, pool.acquire() as connection:
        yield connection


async def park(database: Connection, events: int, seconds: float) -> None:
    """Events that have waited for so long, of up to a hundred orders."""
    await database.execute(_PARK, events, seconds)


async def test_nothing_waits(database: Connection) -> None:
    assert astuple(await freshness.parked_age(database, 60)) == (0, 0, 0, None)


async def test_what_waits_is_counted_and_what_is_beyond_the_limit_told_apart(database: Connection) -> None:
    await park(database, 7, 30)
    await park(database, 5, 90)
    found = await freshness.parked_age(database, 60)
    assert (found.events, found.orders, found.older) == (12, 7, 5)
    oldest = await database.fetchval("SELECT now() - make_interval(secs => 90)")
    assert found.oldest_at is not None
    assert 0 <= (oldest - found.oldest_at).total_seconds() < 60


async def test_beyond_so_many_the_counts_say_at_least(database: Connection) -> None:
    await park(database, 300, 90)
    found = await freshness.parked_age(database, 60, most=100)
    assert found.events >= 100
    assert (found.older, found.orders <= 100) == (100, True)


async def test_no_more_rows_are_read_than_are_to_be_counted(database: Connection) -> None:
    await park(database, 5_000, 90)
    query = f"EXPLAIN (ANALYZE, FORMAT JSON) {Queries('consumer', 'queries.sql')['parked_age']}"
    for _ in range(2):  # before there are statistics, and with them
        [plan] = json.loads(await database.fetchval(query, 60.0, 100))
        read = [node["Actual Rows"] * node["Actual Loops"] for node in nodes(plan["Plan"])]
        assert max(read) <= 100, plan
        await database.execute("ANALYZE projector.parked_events")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


async def test_the_estimate_of_many_comes_from_the_servers_statistics(database: Connection) -> None:
    await park(database, 3_000, 1)
    await database.execute("SELECT pg_stat_force_next_flush()")

    async def told() -> bool:
        found = await freshness.parked_age(database, 60, most=10)
        assert found.older == 0
        return found.events == 3_000

    await eventually(told)
