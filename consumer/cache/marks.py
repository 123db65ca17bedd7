"""After a commit: what is cached of the changed orders is marked as old, and renewed where somebody had read it.

Marks cost no look at PostgreSQL, and only orders that are cached are read again: an order that nobody reads costs one
line of a script. Should the process die before it has marked, readers that bring a version see that the copy is old;
others get it for as long as it is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress

import structlog

from consumer.cache.entry import Entry, gone
from consumer.cache.reading import TTL, generation, shown
from consumer.cache.store import MARKED, OrderCache, order_cache
from runtime import postgres
from runtime.failpoints import Failpoints
from runtime.postgres import leased
from runtime.service import cancelled
from runtime.settings import Settings
from schemas.connection import Connection, Pool
from schemas.errors import ProjectorError

_log = structlog.get_logger("projector.cache")

_MOST = 200_000  # orders to be marked, while the cache is away
_AGAIN = 0.5  # seconds
_ACQUIRE = 5.0
_GOODBYE = 1.0
_READY = 5.0
ERASED = 2**63  # instead of a version


class Marks:
    """Orders that are to be marked: by worker and command handler after each commit, never before it."""

    def __init__(self, cache: OrderCache, pool: Pool, failpoints: Failpoints | None = None) -> None:
        self._cache = cache
        self._pool = pool
        self._failpoints = failpoints or Failpoints()
        self._due: dict[str, int] = {}
        self._some, self._none = asyncio.Event(), asyncio.Event()
        self._none.set()

    def note(self, versions: Mapping[str, int], erased: Collection[str] = ()) -> None:
        """These orders have these versions now; these were erased."""
        for order_id, version in versions.items():
            if version > self._due.get(order_id, 0):
                self._due[order_id] = version
        self._due.update(dict.fromkeys(erased, ERASED))
        if len(self._due) > _MOST:
            _log.error("cache_marks_lost", orders=len(self._due))
            self._due.clear()
        self._none.clear()
        self._some.set()

    async def flushed(self) -> None:
        """As soon as all that was noted is marked."""
        await self._none.wait()

    async def run(self) -> None:
        """Mark what is noted, until cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            due, self._due = self._due, {}
            await self._failpoints.reach("cache_after_commit")
            if not await self._marked(due):
                due.update({order: version for order, version in self._due.items() if version > due.get(order, 0)})
                self._due = due
                await asyncio.sleep(_AGAIN)
                self._some.set()
            elif not self._due:
                self._none.set()

    async def _marked(self, due: Mapping[str, int]) -> bool:
        if not self._cache.breaker.closed:
            return False
        try:
            async with leased(self._pool, _ACQUIRE) as connection:
                current = await generation(connection)
                marks = {
                    order_id: gone(current) if version == ERASED else Entry(current, version)
                    for order_id, version in due.items()
                }
                put = await self._cache.put(marks, MARKED)
                if put is None:
                    return False
                read_before = [order_id for order_id in put.replaced if due[order_id] != ERASED]
                if read_before:
                    await self._cache.put((await shown(connection, read_before)).orders, TTL, put.before)
        except ProjectorError:
            return False
        return True


async def renew(cache: OrderCache, connection: Connection, order_ids: Collection[str]) -> bool:
    """Have the cache hold these as they are now; whether that was done."""
    there = await cache.get([])
    if there is None:
        return False
    return await cache.put((await shown(connection, order_ids)).orders, TTL, there.before) is not None


async def renewed(settings: Settings, order_ids: Collection[str]) -> None:
    """For programs that change orders beside the workers, and end then: the cache holds these as they are now.

    If it can't be reached they are old there for as long as they are kept.
    """
    if not order_ids:
        return
    async with order_cache(settings) as cache:
        if cache is None:
            return
        connection = await postgres.connect(settings, "projector-cache")
        try:
            with postgres.translated():
                if not (await cache.usable(_READY) and await renew(cache, connection, order_ids)):
                    _log.warning("cache_not_renewed", orders=len(order_ids))
        finally:
            connection.terminate()


@asynccontextmanager
async def marking(cache: OrderCache | None, pool: Pool, failpoints: Failpoints) -> AsyncIterator[Marks | None]:
    """Marks that are made while the block runs. Without a cache there are none."""
    if cache is None:
        yield None
        return
    marks = Marks(cache, pool, failpoints)
    running = asyncio.ensure_future(marks.run())
    try:
        yield marks
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                await marks.flushed()
        await cancelled({running})
