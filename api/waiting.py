"""Waiting for versions, without a connection each: one that listens, and one question for all who wait.

Workers tell once per batch that something was applied. Whoever waits is asked about then, all in one statement, and
every quarter of a second besides, since a notification may be lost.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from api.problems import Problem
from consumer.telling import CHANNEL
from runtime import postgres
from runtime.awaiting import first_of
from runtime.postgres import leased
from runtime.settings import Settings
from runtime.sql import Queries
from schemas.connection import Pool
from schemas.errors import ProjectorError

_SQL = Queries("api", "queries.sql")

_MOST = 1_000  # who wait at once
_LOOK = 0.25  # seconds between two looks without news
_ACQUIRE = 1.0
_RECONNECT = 1.0


class Waiting:
    """Those who wait, by what for. `run` has to run beside."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiters: dict[str, dict[asyncio.Future[None], int]] = {}
        self._count = 0
        self._news = asyncio.Event()

    @property
    def count(self) -> int:
        """How many wait."""
        return self._count

    def news(self) -> None:
        """Something was applied."""
        self._news.set()

    async def until(self, order_id: str, version: int, seconds: float) -> bool:
        """Whether readers see the order at this version within so many seconds. Raises Problem if too many wait."""
        if seconds <= 0:
            return False
        if self._count >= _MOST:
            raise Problem(503, "too-many-wait", "too many requests wait for a version", {"Retry-After": "1"})
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(order_id, {})
        waiters[done] = version
        self._count += 1
        self._news.set()  # it may have come between the look before and now
        try:
            await asyncio.wait([done], timeout=seconds)
            return done.done()
        finally:
            self._count -= 1
            del waiters[done]
            if not waiters and self._waiters.get(order_id) is waiters:
                del self._waiters[order_id]

    async def run(self, stop: asyncio.Event) -> None:
        """Look for those who wait, until told to stop."""
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), _LOOK)
            self._news.clear()
            if self._waiters:
                with suppress(ProjectorError):  # they go on waiting, and are told when their time is over
                    await self._look()

    async def listen(self, settings: Settings, stop: asyncio.Event) -> None:
        """Hear of news, on a connection of its own, until told to stop. While it is away, the clock has to do."""
        while not stop.is_set():
            with suppress(ProjectorError):
                connection = await postgres.connect(settings, "projector-api-news")
                try:
                    ended = asyncio.Event()
                    connection.add_termination_listener(lambda _, ended=ended: ended.set())
                    await connection.add_listener(CHANNEL, lambda *_: self._news.set())
                    await first_of(stop, ended)
                finally:
                    connection.terminate()
            await first_of(stop, seconds=_RECONNECT)

    async def _look(self) -> None:
        async with leased(self._pool, _ACQUIRE) as connection:
            rows = await connection.fetch(_SQL["versions"], list(self._waiters))
        for row in rows:
            for waiter, version in self._waiters.get(row["order_id"], {}).items():
                if row["version"] >= version and not waiter.done():
                    waiter.set_result(None)
