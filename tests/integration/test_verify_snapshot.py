"""What a verification reads is one moment, however long it takes, and never more of it at once than it was told."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from consumer.read_models import READ_MODELS
from consumer.verification.run import Plan, verify
from consumer.verification.snapshot import Span, snapshot
from runtime.settings import Settings
from schemas.connection import Connection
from schemas.errors import Refused, Unavailable
from testkit.deadline import eventually
from tests.support.engine import Engine, attributes, engine, placed
from tests.support.fleet import settings_for
from tests.support.verification import told

VERIFIES = "application_name = 'projector-verify' AND datname = current_database()"


@pytest.fixture
def settings(database_url: str) -> Settings:
    return settings_for("localhost:1", database_url, "orders.events")


@pytest_asyncio.fixture
async def fed(database_url: str) -> AsyncIterator[Engine]:
    async with engine(database_url) as made:
        made.send(placed("a"), attributes("a", 2, "order.confirmed"), placed("b"))
        await made.run()
        yield made


@pytest_asyncio.fixture
async def other(database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def test_what_is_written_meanwhile_is_not_seen(fed: Engine, settings: Settings) -> None:
    async with snapshot(settings, READ_MODELS) as taken:
        before = [row async for row in taken.all_rows("read_model.customer_summary")]
        fed.send(placed("c"), attributes("a", 3, "order.delivered"))
        await fed.run()
        assert [row async for row in taken.all_rows("read_model.customer_summary")] == before
        assert {order_id: live.version for order_id, live in (await taken.live(Span())).items()} == {"a": 2, "b": 1}
        assert set((await taken.checkpoints(["orders.events"]))[0].values()) == {3}


@pytest.mark.parametrize("table", ["orders", "ledger", "customer_summary", "product_sales_daily", "fulfilment_queue"])
async def test_a_swap_has_to_wait(fed: Engine, settings: Settings, other: Connection, table: str) -> None:
    """To this snapshot the new table would be empty."""
    await other.execute("SET lock_timeout = '100ms'")
    async with snapshot(settings, READ_MODELS):
        with pytest.raises(asyncpg.LockNotAvailableError):
            await other.execute(f"ALTER TABLE projector.{table} RENAME TO old")
    await other.execute(f"ALTER TABLE projector.{table} RENAME TO old")


async def test_a_database_s_time_limits_don_t_end_it(fed: Engine, settings: Settings, other: Connection) -> None:
    for limit in ("idle_in_transaction_session_timeout", "idle_session_timeout"):
        await other.execute(
            f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {limit} = 50', current_database()); END $$"
        )
    idle = f"SELECT FROM pg_stat_activity WHERE {VERIFIES} AND state_change < clock_timestamp() - interval '300 ms'"

    async def has_been_idle() -> bool:
        return bool(await other.fetch(idle))

    async with snapshot(settings, READ_MODELS) as taken:
        await taken.live(Span())
        await eventually(has_been_idle)
        assert len(await taken.live(Span())) == 2


async def test_a_lost_connection_ends_it(fed: Engine, settings: Settings, other: Connection) -> None:
    async with snapshot(settings, READ_MODELS) as taken:
        await other.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {VERIFIES}")
        with pytest.raises(Unavailable):
            await taken.live(Span())


async def test_a_database_without_the_schema_is_refused(empty_database_url: str) -> None:
    with pytest.raises(Refused, match="projector migrate"):
        async with snapshot(settings_for("localhost:1", empty_database_url, "t"), READ_MODELS):
            pass


async def test_nothing_can_be_written(fed: Engine, settings: Settings) -> None:
    async with snapshot(settings, READ_MODELS) as taken:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await taken._connection.execute("DELETE FROM projector.orders")


async def test_memory_is_that_of_a_range_not_of_the_whole(settings: Settings, other: Connection) -> None:
    source = "INSERT INTO projector.event_sources (source) VALUES ('/s') RETURNING source_no"
    number = await other.fetchval(source)
    await other.execute(
        "INSERT INTO projector.ledger (event_uuid, source_no, version, occurred_at, order_id, event_type, data) "
        "SELECT gen_random_uuid(), $1, v, now(), 'o-' || n, 'order.seen', jsonb_build_object('x', repeat('x', 200)) "
        "FROM generate_series(1, 3000) AS n, generate_series(1, 8) AS v",
        number,
    )
    await other.execute(
        "INSERT INTO projector.orders (order_id, revision, version, lines, unit_count, total, paid, refunded) "
        "SELECT 'o-' || n, 8, 8, '[]', 0, 0, 0, 0 FROM generate_series(1, 3000) AS n"
    )
    peaks = []
    for size in (24_000, 500):
        tracemalloc.start()
        found = await verify(settings, Plan(source="journal", size=size))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert told(found) == []
        assert found.checks["order_timeline"].found == 24_000
    whole, part = peaks
    assert part < whole / 8, peaks
