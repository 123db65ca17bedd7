"""What the page shows of the machinery, read at most once a second however many pages are open.

A part that can't be read says why, and the others are shown all the same: the page is for times of trouble too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg

from api.loading import ACQUIRE
from consumer import letters
from consumer.letters import Behind, Selection, State
from runtime.postgres import leased
from runtime.sql import Queries
from schemas.connection import Connection, Pool
from schemas.errors import ProjectorError, Refused

_SQL = Queries("api", "console.sql")

SHOWN = 10  # rows of a part on the first page
MOST_LETTERS = 200
_FRESH = 1.0  # seconds for which what was read is given to others too
_PATIENCE = 3.0  # seconds in which PostgreSQL has to answer; what it answers later nobody hears
_MOST_LATE = 6  # answers that may be late at a time: a server that hangs isn't asked any more
_SILENT = "PostgreSQL does not answer at the moment."

_Read = Callable[[Connection], Awaitable[list[Any] | list[asyncpg.Record]]]


@dataclass(frozen=True)
class Part:
    """A part of the page: its rows, or why there are none to be had."""

    rows: list[Any]
    trouble: str | None = None


@dataclass(frozen=True)
class Look:
    """The machinery at one moment."""

    letters: Part
    parked: Part
    rebuilds: Part


@dataclass(frozen=True)
class Surroundings:
    """What there is of one order beside its row: what commands made of it, what waits, what can't be applied."""

    written: int | None
    behind: Behind | None
    letters: Part


class Looks:
    """Looks at the machinery."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._last: Look | None = None
        self._looked_at = 0.0
        self._looking = asyncio.Lock()
        self._late: set[asyncio.Future[Part]] = set()

    async def now(self) -> Look:
        """How it stands, or stood a moment ago."""
        async with self._looking:
            if self._last is None or time.monotonic() - self._looked_at >= _FRESH:
                parts = await asyncio.gather(
                    self._part(lambda connection: letters.find(connection, Selection(), most=SHOWN)),
                    self._part(lambda connection: connection.fetch(_SQL["parked"], SHOWN)),
                    self._part(lambda connection: connection.fetch(_SQL["rebuilds"], 5)),
                )
                self._last = Look(*parts)
                self._looked_at = time.monotonic()
            return self._last

    def forget(self) -> None:
        """Something was changed from here: whoever changed it sees it."""
        self._last = None

    async def letters(self, wanted: Selection, *, resolved_too: bool = False) -> Part:
        """Letters, the newest first."""
        return await self._part(
            lambda connection: letters.find(connection, wanted, resolved_too=resolved_too, most=MOST_LETTERS)
        )

    async def state(self, letter: int) -> State | None:
        """How a letter stands; None if it is gone or can't be seen."""
        found = await self._part(lambda connection: _states(connection, letter))
        return found.rows[0] if found.rows else None

    async def around(self, order_id: str) -> Surroundings:
        """One order's surroundings."""
        written = await self._part(lambda connection: connection.fetch(_SQL["written_version"], order_id))
        behind = await self._part(lambda connection: _behind(connection, order_id))
        theirs = await self.letters(Selection(order_id=order_id))
        return Surroundings(
            written.rows[0]["version"] if written.rows else None, behind.rows[0] if behind.rows else None, theirs
        )

    async def _part(self, read: _Read) -> Part:
        if len(self._late) >= _MOST_LATE:
            return Part([], _SILENT)
        asked = asyncio.ensure_future(self._ask(read))
        await asyncio.wait([asked], timeout=_PATIENCE)
        if asked.done():
            return asked.result()
        self._late.add(asked)
        asked.add_done_callback(self._late.discard)
        return Part([], _SILENT)

    async def _ask(self, read: _Read) -> Part:
        try:
            async with leased(self._pool, ACQUIRE) as connection:
                return Part(list(await read(connection)))
        except Refused:
            return Part([], "This service's login has no right to read this; docs/security.md says which role has.")
        except ProjectorError:
            return Part([], _SILENT)


async def _states(connection: Connection, letter: int) -> list[State]:
    return list((await letters.states(connection, [letter])).values())


async def _behind(connection: Connection, order_id: str) -> list[Behind]:
    return list((await letters.behind(connection, [order_id])).values())
