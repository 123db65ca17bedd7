"""The classic race of a cache beside a database: an old value that fills it after the new one has thrown it out.

Real Valkey, our loader and our marks, and the database's answers from memory. Readers and writers go step by step, in
an order that is drawn; the textbook's cache-aside goes through the same, to show that the race is there to be seen.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, cast

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from api.freshness import Freshness
from api.loading import OrderLoader
from consumer.cache import store
from consumer.cache.entry import Entry
from consumer.cache.marks import Marks
from consumer.cache.store import Got, OrderCache, Put
from runtime.settings import load
from schemas.connection import Pool
from tests.support.turns import Turns
from tests.support.valkey import Valkey, at, valkey

SEED = int(os.environ.get("CACHE_SEED", "7"))
INTERLEAVINGS = 10_000
TEXTBOOKS = 1_000
READERS, WRITES = 2, 2


class Database:
    """Orders' versions, in memory; each look takes a turn."""

    def __init__(self) -> None:
        self.turns = Turns(Random(SEED))
        self.began = datetime.now(UTC)
        self.looks = 0
        self.version = 1

    def begin(self, turns: Turns) -> None:
        self.turns, self.version = turns, 1

    async def commit(self) -> int:
        async with self.turns.step():
            self.version += 1
            return self.version

    async def read(self) -> int:
        async with self.turns.step():
            return self.version

    @asynccontextmanager
    async def acquire(self, timeout: float) -> AsyncIterator[Database]:
        """As a pool does it; there is always a connection."""
        yield self

    async def fetchval(self, _: str) -> int:
        """The generation."""
        async with self.turns.step():
            return 1

    async def fetch(self, _: str, order_ids: Sequence[str]) -> list[dict[str, Any]]:
        """The orders as they are shown."""
        async with self.turns.step():
            self.looks += 1
            as_of = self.began + timedelta(microseconds=self.looks)
            return [
                {
                    "order_id": one,
                    "generation": 1,
                    "version": self.version,
                    "as_of": as_of,
                    "body": f"{self.version}",
                    "replica": False,
                }
                for one in order_ids
            ]


class Stepwise(OrderCache):
    """Each call is a step."""

    database: Database

    async def get(self, order_ids: Sequence[str]) -> Got | None:
        async with self.database.turns.step():
            return await super().get(order_ids)

    async def put(self, entries: Mapping[str, Entry], ttl: float, before: int = 0) -> Put | None:
        async with self.database.turns.step():
            return await super().put(entries, ttl, before)


class Ours:
    """Two processes that read and one that writes, as far as the cache goes."""

    def __init__(self, cache: Stepwise) -> None:
        self.cache = cache
        self.database = cache.database = Database()
        pool = cast("Pool", self.database)
        freshness = Freshness(load({}), pool, CollectorRegistry())
        self.loaders = [OrderLoader(pool, freshness, CollectorRegistry(), cache) for _ in range(READERS)]
        self.marks = Marks(cache, pool)

    async def play(self, turns: Turns, order: str) -> tuple[int, int]:
        """The version that is cached when all is done (0: none), and the one that there is."""
        self.database.begin(turns)
        await turns.play(
            *(self._read(each, order) for each in self.loaders), *(self._write(order) for _ in range(WRITES))
        )
        there = await OrderCache.get(self.cache, [order])
        assert there is not None
        entry = there.entries.get(order)
        return (entry.version if entry is not None and entry.body else 0), self.database.version

    async def _read(self, loader: OrderLoader, order: str) -> None:
        for _ in range(2):
            needed = self.database.version
            found = await loader.get(order, needed)
            assert found is not None
            assert found.version >= needed

    async def _write(self, order: str) -> None:
        self.marks.note({order: await self.database.commit()})


@pytest_asyncio.fixture(scope="module")
async def server() -> AsyncIterator[Valkey]:
    async with valkey() as running:
        yield running


@pytest_asyncio.fixture
async def ours(server: Valkey, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ours]:
    monkeypatch.setattr(store, "_BUDGET", 5.0)  # who goes first is what matters here, and not how fast
    cache, stop = Stepwise(server.url), asyncio.Event()
    running = asyncio.ensure_future(cache.run(stop))
    assert await cache.usable(10)
    made = Ours(cache)
    marking = asyncio.ensure_future(made.marks.run())
    yield made
    marking.cancel()
    with suppress(asyncio.CancelledError):
        await marking
    stop.set()
    await running
    await cache.close()


async def textbook(database: Database, client: Redis, order: str) -> tuple[int, int]:
    """The same by the book: read through, and delete after each write."""
    turns = database.turns

    async def read() -> None:
        for _ in range(2):
            async with turns.step():
                there = await client.get(order)
            if there is None:
                version = await database.read()
                async with turns.step():
                    await client.set(order, version, ex=60)

    async def write() -> None:
        await database.commit()
        async with turns.step():
            await client.delete(order)

    await turns.play(*(read() for _ in range(READERS)), *(write() for _ in range(WRITES)))
    return int(await client.get(order) or 0), database.version


async def test_no_interleaving_leaves_an_old_order_in_the_cache(ours: Ours) -> None:
    random, stale, cached = Random(SEED), 0, 0
    for number in range(INTERLEAVINGS):
        found, current = await ours.play(Turns(random), f"ours-{number}")
        stale += found not in (0, current)
        cached += found == current
    print(f"seed {SEED}: {INTERLEAVINGS} interleavings, {stale} stale, {cached} cached")
    assert stale == 0
    assert cached > INTERLEAVINGS / 10  # else nothing was tested


async def test_by_the_book_some_interleavings_do(server: Valkey) -> None:
    random, stale, database = Random(SEED), 0, Database()
    async with at(server.url) as client:
        for number in range(TEXTBOOKS):
            database.begin(Turns(random))
            found, current = await textbook(database, client, f"book-{number}")
            stale += found not in (0, current)
    print(f"seed {SEED}: {TEXTBOOKS} interleavings, {stale} stale")
    assert stale > 0
