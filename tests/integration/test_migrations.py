"""Migrations: from nothing or from any number before, the schema is the same; and the release before goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from consumer.install import check, install
from schemas import migrate as migrating
from schemas.connection import Connection
from schemas.migrate import migrate, migrations

ALL = migrations()

_COLUMNS = """
SELECT c.relname, c.relkind::text, c.reloptions, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       a.attidentity::text, a.attcollation::regcollation::text, pg_get_expr(d.adbin, d.adrelid)
FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('projector', 'read_model'))
ORDER BY c.relname, a.attnum
"""
_REST = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace::regnamespace::text IN ('projector', 'read_model')
UNION ALL
SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname IN ('projector', 'read_model')
UNION ALL
SELECT schemaname, viewname, definition FROM pg_views WHERE schemaname IN ('projector', 'read_model')
UNION ALL
SELECT 'applied', version, '' FROM projector.schema_migrations
ORDER BY 1, 2
"""

# As workers of the first release write a letter.
_FIRST_RELEASE = """
INSERT INTO projector.dead_letters (
    reason, order_id, event_id, event_source, event_type, version, event_uuid, source_no,
    topic, partition, "offset", "timestamp", error, key, value, headers
)
VALUES ('invalid_history', 'a', 'e', '/s', 'order.placed', 2, gen_random_uuid(), 1,
        't', 0, $1, 0, 'why', 'k', 'v', '{}')
ON CONFLICT DO NOTHING
"""


@pytest_asyncio.fixture
async def database(empty_database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(empty_database_url)
    yield connection
    await connection.close()


async def catalog(connection: Connection) -> list[tuple[Any, ...]]:
    """All that the schemas hold."""
    found = [*await connection.fetch(_COLUMNS), *await connection.fetch(_REST)]
    return [tuple(row) for row in found]


async def at_number(connection: Connection, number: int) -> None:
    """As the release with so many migrations left it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(migrating, "migrations", lambda: ALL[:number])
        await migrate(connection)


@pytest.mark.parametrize("number", range(len(ALL)))
async def test_the_schema_is_the_same_from_nothing_and_from_every_number_before(
    database: Connection, database_url: str, number: int
) -> None:
    """The other database was made in one go."""
    await at_number(database, number)
    if number:
        await database.execute(_FIRST_RELEASE, 0)
    done = await install(database)
    assert done.migrations == [migration.name for migration in ALL[number:]]
    whole = await asyncpg.connect(database_url)
    try:
        assert await catalog(database) == await catalog(whole)
    finally:
        await whole.close()
    await check(database)
    assert await database.fetchval("SELECT count(*) FROM projector.dead_letters") == min(number, 1)


async def test_the_release_before_goes_on_writing_letters(database: Connection) -> None:
    await install(database)
    for offset in (0, 0, 1):
        await database.execute(_FIRST_RELEASE, offset)
    rows = await database.fetch("SELECT attempts, last_error, resolution FROM projector.dead_letters")
    assert [tuple(row) for row in rows] == [(1, None, None)] * 2


@pytest.mark.parametrize("number", [at for at, one in enumerate(ALL) if "ALTER TABLE" in one.up])
async def test_a_migration_gives_up_rather_than_stand_in_everybodys_way(
    database: Connection, empty_database_url: str, number: int
) -> None:
    """A lock that waits for a long statement stops all that comes after it."""
    await at_number(database, number)
    soon = ALL[number]._replace(up=ALL[number].up.replace("lock_timeout = '5s'", "lock_timeout = '50ms'"))
    busy = await asyncpg.connect(empty_database_url)
    try:
        async with busy.transaction(), asyncio.timeout(20):
            for table in await busy.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'projector'"):
                await busy.execute(f"LOCK projector.{table['tablename']} IN ACCESS SHARE MODE")
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(migrating, "migrations", lambda: [*ALL[:number], soon])
                with pytest.raises(asyncpg.LockNotAvailableError):
                    await migrate(database)
    finally:
        await busy.close()
    assert await migrate(database) == [one.name for one in ALL[number:]]
