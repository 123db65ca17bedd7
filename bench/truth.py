"""A fast wrong run is worthless: what is in the database, held against what the stream meant."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from bench.stage import SQL
from bench.stream import Load
from consumer.proof import prove
from schemas.connection import Connection
from schemas.errors import ProjectorError

Digest = dict[str, tuple[int, str]]


class WrongResult(ProjectorError):
    """What was measured did not do its work."""


class Truth:
    """Proves the first database of each stream row by row, and every later one by the same digest of every row."""

    def __init__(self) -> None:
        self._digests: dict[Load, Digest] = {}  # by what decides the rows, wherever it lies

    async def check(self, connection: Connection, load: Load) -> None:
        """Raises WrongResult unless all five read models hold exactly what the load's stream means."""
        found = await digest(connection)
        meant = replace(load, topic="")
        known = self._digests.get(meant)
        if known is None:
            await _prove(connection, load)
            self._digests[meant] = found
        elif found != known:
            wrong = sorted(name for name in known if found[name] != known[name])
            raise WrongResult(f"{load.topic}: {', '.join(wrong)} differ from the rows that were proved")


async def digest(connection: Connection) -> Digest:
    """Row counts and sums of row hashes, by read model."""
    return {row["name"]: (row["rows"], row["digest"]) for row in await connection.fetch(SQL["digest"])}


async def _prove(connection: Connection, load: Load) -> None:
    settled = await asyncio.to_thread(load.settled)
    checks = await prove(connection, settled)
    wrong = [f"{check.name}: {check.differences[0]}" for check in checks if check.differences]
    if wrong:
        raise WrongResult(f"{load.topic}: {'; '.join(wrong)}")
