"""The cache of orders in real Valkey: what gets in, what doesn't, and what happens while it is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from consumer.cache.entry import Entry, gone
from consumer.cache.marks import marking
from consumer.cache.store import FILL, OrderCache
from runtime.failpoints import Failpoints
from schemas.connection import Pool
from testkit.deadline import eventually
from tests.support.valkey import Valkey, at, valkey

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
LATER = NOW + timedelta(microseconds=1)


@asynccontextmanager
async def cached(server: Valkey) -> AsyncIterator[OrderCache]:
    made, stop = OrderCache(server.url), asyncio.Event()
    running = asyncio.ensure_future(made.run(stop))
    assert await made.usable(10)
    try:
        yield made
    finally:
        stop.set()
        await running
        await made.close()


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Valkey]:
    async with valkey() as running:
        yield running


@pytest_asyncio.fixture
async def cache(server: Valkey) -> AsyncIterator[OrderCache]:
    async with cached(server) as made:
        yield made


async def there(cache: OrderCache, order: str = "o") -> Entry | None:
    found = await cache.get([order, "another"])
    assert found is not None
    return found.entries.get(order)


OLD = Entry(1, 5, NOW, b'{"v": 5}')


@pytest.mark.parametrize(
    ("new", "gets_in"),
    [
        (Entry(1, 6, NOW, b"6"), True),
        (Entry(1, 10, NOW, b"10"), True),
        (Entry(2, 1, NOW, b"of a later generation"), True),
        (Entry(1, 5, LATER, b"read later"), True),
        (Entry(1, 6), True),
        (gone(1), True),
        (Entry(1, 5, NOW, b"the same"), False),
        (Entry(1, 4, LATER, b"4"), False),
        (Entry(0, 9, LATER, b"of an earlier generation"), False),
        (Entry(1, 5), False),
        (Entry(1, 4), False),
    ],
)
async def test_the_newer_one_wins(cache: OrderCache, new: Entry, gets_in: bool) -> None:
    for first, second in ((OLD, new), (new, OLD)):
        order = f"o-{first.version}-{second.version}"
        for entry in (first, second):
            await cache.put({order: entry}, 60)
        assert await there(cache, order) == (new if gets_in else OLD)


async def test_it_says_which_orders_a_mark_has_replaced(cache: OrderCache) -> None:
    await cache.put({"read": OLD, "marked": Entry(1, 5)}, 60)
    marks = {order: Entry(1, 6) for order in ("read", "marked", "absent")}
    first, again = await cache.put(marks, 60), await cache.put(marks, 60)
    assert first is not None
    assert again is not None
    assert first.replaced == ["read"]
    assert again.replaced == []


async def test_thousands_are_put_in_pieces(cache: OrderCache) -> None:
    await cache.put({f"o-{n}": OLD for n in range(1_700)}, 60)
    put = await cache.put({f"o-{n}": Entry(1, 6) for n in range(1_700)}, 60)
    assert put is not None
    assert len(put.replaced) == 1_700


async def test_what_was_read_too_long_ago_does_not_get_in(server: Valkey, cache: OrderCache) -> None:
    """A copy that was under way while the server stood still: the mark that would have refused it may be gone."""
    got = await cache.get([])
    assert got is not None
    async with at(server.url) as client:
        seconds, microseconds = await client.time()
    now = seconds * 1000 + microseconds // 1000
    assert FILL * 1000 - 5_000 < got.before - now <= FILL * 1000
    await cache.put({"o": OLD}, 60, now - 1)
    assert await there(cache) is None
    await cache.put({"o": OLD}, 60, got.before)
    assert await there(cache) == OLD


async def test_copies_are_kept_for_about_as_long_as_told(server: Valkey, cache: OrderCache) -> None:
    await cache.put({"o": OLD}, 60)
    async with at(server.url) as client:
        assert 53_000 < await client.pttl("projector:1:order:o") <= 66_000


async def test_what_is_none_of_ours_is_not_there_and_goes(server: Valkey, cache: OrderCache) -> None:
    async with at(server.url) as client:
        await client.set("projector:1:order:o", b"garbage")
    assert await there(cache) is None


async def test_while_it_is_away_nobody_waits_and_afterwards_it_is_used_again(server: Valkey, cache: OrderCache) -> None:
    await cache.put({"o": OLD}, 60)
    server.kill9()
    for _ in range(5):
        began = time.monotonic()
        assert await cache.get(["o"]) is None
        assert time.monotonic() - began < 0.2
    assert not cache.breaker.closed
    assert await cache.put({"o": OLD}, 60) is None
    await server.start()
    await eventually(lambda: cache.breaker.closed, 10)
    assert await there(cache) is None  # it came back empty
    await cache.put({"o": OLD}, 60)
    assert await there(cache) == OLD


async def test_one_that_says_nothing_costs_a_reader_fifty_milliseconds_and_soon_none(
    server: Valkey, cache: OrderCache
) -> None:
    await cache.put({"o": OLD}, 60)
    server.freeze()
    took = []
    for _ in range(6):
        began = time.monotonic()
        assert await cache.get(["o"]) is None
        took.append(time.monotonic() - began)
    server.thaw()
    assert max(took) < 0.2  # 50 ms, and what the machine adds
    assert max(took[3:]) < 0.02
    await eventually(lambda: cache.breaker.closed, 10)
    assert await there(cache) == OLD  # and the answer to what was asked then is nobody's


class Database:
    """As far as marks ask: a generation, and orders as they are."""

    @asynccontextmanager
    async def acquire(self, timeout: float) -> AsyncIterator[Database]:
        yield self

    async def fetchval(self, _: str) -> int:
        return 1

    async def fetch(self, _: str, order_ids: Sequence[str]) -> list[dict[str, Any]]:
        return [
            {"order_id": one, "generation": 1, "version": 6, "as_of": LATER, "body": "6", "replica": False}
            for one in order_ids
        ]


async def test_marks_that_can_not_be_made_are_made_later(server: Valkey, cache: OrderCache) -> None:
    await cache.put({"read": OLD, "unread": Entry(1, 5)}, 60)
    async with at(server.url) as client, marking(cache, cast("Pool", Database()), Failpoints()) as marks:
        assert marks is not None
        await client.config_set("maxmemory", 1)  # a server that refuses to write
        refusals = len(await client.info("errorstats"))
        marks.note({"read": 6, "unread": 6, "erased": 6}, ["erased"])
        await eventually(lambda: _refused(client, refusals), 10)
        assert await there(cache, "read") == OLD
        await client.config_set("maxmemory", 0)
        async with asyncio.timeout(10):
            await marks.flushed()
    assert await there(cache, "read") == Entry(1, 6, LATER, b"6")  # somebody reads it: renewed at once
    assert await there(cache, "unread") == Entry(1, 6)
    assert await there(cache, "erased") == gone(1)


async def _refused(client: Redis, before: int) -> bool:
    return len(await client.info("errorstats")) > before


async def test_one_that_is_full_is_done_without() -> None:
    async with valkey("--maxmemory", "3mb", "--maxmemory-policy", "noeviction") as small, cached(small) as cache:
        big = Entry(1, 5, NOW, b"x" * 500_000)
        results = [await cache.put({f"o-{n}": big}, 60) for n in range(12)]
        assert results[0] is not None
        assert results[-1] is None
