"""How PostgreSQL goes about the engine's statements, on tables that nobody has analysed yet."""

from __future__ import annotations

from typing import Any

import pytest

from runtime import postgres
from runtime.settings import load
from runtime.sql import Queries

_SQL = Queries("consumer", "queries.sql")
_PACKED = [" ", "-", " 01900000-0000-7000-8000-000000000000", " 1"]
_KEYS = [["01900000-0000-7000-8000-000000000000"], [1]]


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        ("orders_read", [["a", "b"]]),
        ("batch_look", [*_PACKED, " a b"]),
        ("ledger_known", _PACKED),
        ("pending_known", _PACKED),
        ("parked_waiting", [["a", "b"]]),
        ("parked_remove", _KEYS),
        ("ledger_erase", [["a"]]),
        ("parked_erase", [["a"]]),
        ("letters_erase", [["a"]]),
    ],
)
async def test_the_engine_reads_by_key_before_any_statistics(
    database_url: str, query: str, arguments: list[Any]
) -> None:
    async with postgres.pool(load({}, database_url=database_url), "test", 1) as pool, pool.acquire() as connection:
        plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {_SQL[query]}", *arguments))
    assert "Seq Scan" not in plan, plan


async def test_a_statement_is_prepared_once_however_long_it_is(database_url: str) -> None:
    """A batch's write grows with the read models, beyond what the driver would keep by itself."""
    long = f"SELECT 1 AS kept -- {'x' * 20_000}"
    async with postgres.pool(load({}, database_url=database_url), "test", 1) as pool, pool.acquire() as connection:
        for _ in range(2):
            assert await connection.fetchval(long) == 1
        kept = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT 1 AS kept%'"
        assert await connection.fetchval(kept) == 1
