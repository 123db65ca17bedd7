"""Brings a database's machinery to the current schema: numbered SQL files, forward-only, one transaction each.

The files are in dbmate's format and so is the table that remembers them, so dbmate can do this too. Safe to run
from many processes at once: the first takes an advisory lock, the others wait and find nothing left to do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import NamedTuple

from schemas.connection import Connection

# Made once at random; whoever changes the schema holds it.
_LOCK = 7_203_185_524_116_309


class Migration(NamedTuple):
    version: str
    name: str
    up: str


def migrations() -> list[Migration]:
    """All of them, oldest first."""
    found = sorted(
        (entry.name, entry.read_text("utf-8"))
        for entry in files("schemas").joinpath("ddl").iterdir()
        if entry.name.endswith(".sql") and entry.name[:4].isdigit()
    )
    return [Migration(name[:4], name, _up(text)) for name, text in found]


async def migrate(connection: Connection) -> list[str]:
    """Apply what is missing; the names of the files applied. The caller holds `schema_lock`."""
    statements = _statements()
    await connection.execute(statements["prepare"])
    done = {row["version"] for row in await connection.fetch(statements["applied"])}
    applied = []
    for migration in migrations():
        if migration.version not in done:
            async with connection.transaction():
                await connection.execute(migration.up)
                await connection.execute(statements["remember"], migration.version)
            applied.append(migration.name)
    return applied


async def pending(connection: Connection) -> list[str]:
    """The names of the files that this database still lacks."""
    statements = _statements()
    if not await connection.fetchval(statements["known"]):
        return [migration.name for migration in migrations()]
    done = {row["version"] for row in await connection.fetch(statements["applied"])}
    return [migration.name for migration in migrations() if migration.version not in done]


@asynccontextmanager
async def schema_lock(connection: Connection) -> AsyncIterator[None]:
    """One change of schema at a time, in all the fleet. Held by the session, so a killed process lets go of it."""
    statements = _statements()
    await connection.execute(statements["lock"], _LOCK)
    try:
        yield
    finally:
        await connection.execute(statements["unlock"], _LOCK)


def _up(text: str) -> str:
    return text.partition("-- migrate:up")[2].partition("-- migrate:down")[0]


def _statements() -> dict[str, str]:
    """The runner's own five statements (schemas is below runtime, whose loader reads the others)."""
    text = files("schemas").joinpath("ddl", "runner.sql").read_text("utf-8")
    blocks = text.split("-- name: ")[1:]
    return {block.partition("\n")[0].strip(): block.partition("\n")[2] for block in blocks}
