"""What PostgreSQL and its driver say, in this project's words: it decides what a worker does next."""

from __future__ import annotations

import asyncpg
import pytest

from runtime import postgres
from schemas.connection import Pool
from schemas.errors import LostRace, ProjectorError, Refused, Unavailable, Unstorable
from tests.support.fleet import settings_for


def said(sqlstate: str) -> asyncpg.PostgresError:
    error = asyncpg.PostgresError("it says")
    error.sqlstate = sqlstate  # type: ignore[misc]  # as the driver does
    return error


@pytest.mark.parametrize(
    ("error", "meant"),
    [
        (said("40001"), LostRace),
        (said("40P01"), LostRace),
        (said("08006"), Unavailable),
        (said("28P01"), Unavailable),  # a password that is being changed
        (said("3D000"), Unavailable),  # a database that is being renamed
        (said("25006"), Unavailable),  # a standby that isn't promoted yet
        (said("25P03"), Unavailable),  # idle in a transaction for too long
        (said("25P04"), Unavailable),  # a transaction that took too long
        (said("53300"), Unavailable),
        (said("55P03"), Unavailable),
        (said("57P01"), Unavailable),
        (said("0A000"), Unavailable),  # a plan from before the table was swapped
        (said("22021"), Unstorable),
        (said("23505"), Unstorable),
        (said("54000"), Unstorable),
        (said("42P01"), Refused),
        (said("42501"), Refused),
        (asyncpg.InterfaceError("connection is closed"), Unavailable),
        (asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"), Unavailable),
        (ConnectionResetError(), Unavailable),
        (TimeoutError(), Unavailable),
    ],
    ids=lambda value: getattr(value, "sqlstate", None) or getattr(value, "__name__", type(value).__name__),
)
def test_what_the_driver_raises_is_told_apart(error: Exception, meant: type[ProjectorError]) -> None:
    with pytest.raises(ProjectorError) as told, postgres.translated():
        raise error
    assert type(told.value) is meant


async def test_a_session_has_its_limits(database_url: str) -> None:
    settings = settings_for("localhost:1", database_url, "any", statement_timeout=7, session_timeout=4)
    async with postgres.pool(settings, "test-limits", 1) as pool:
        assert await pool.fetchval("SHOW statement_timeout") == "7s"
        assert await pool.fetchval("SHOW lock_timeout") == "7s"
        assert await pool.fetchval("SHOW idle_in_transaction_session_timeout") == "4s"
        version = await pool.fetchval("SELECT current_setting('server_version_num')::int / 10000")
        if version >= 17:
            assert await pool.fetchval("SHOW transaction_timeout") == "11s"
        assert await pool.fetchval("SHOW tcp_keepalives_idle") == "60"
        assert await pool.fetchval("SHOW application_name") == "test-limits"


async def writes_read_only(pool: Pool) -> None:
    async with postgres.leased(pool, 5) as connection, connection.transaction(readonly=True):
        await connection.execute("CREATE TABLE written (a integer)")


async def backend(pool: Pool) -> int:
    async with postgres.leased(pool, 5) as connection:
        return int(await connection.fetchval("SELECT pg_backend_pid()"))


async def test_connections_to_a_server_that_is_read_only_are_given_up(database_url: str) -> None:
    async with postgres.pool(settings_for("localhost:1", database_url, "any"), "test-read-only", 1) as pool:
        before = await backend(pool)
        assert await backend(pool) == before
        with pytest.raises(Unavailable, match="25006"):
            await writes_read_only(pool)
        assert await backend(pool) != before
