"""The cache in Redis or Valkey. Whatever is wrong with it, nobody who asks it waits for longer than 50 ms, or fails.

All writes go through one script that compares stamps, so they may come in any order and as often as they like. Nothing
is ever deleted: an old copy that is still under way would be let in then. A mark is kept for twice as long as a copy
may be under way, both by the cache's own clock:

    asked at t → read from PostgreSQL → put, before t + FILL, or refused
    committed → marked at m, until m + MARKED

What was read before the commit was asked for before m, so it comes before m + FILL, and finds the mark.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from random import Random
from typing import NamedTuple

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from consumer.cache.entry import Entry, unpacked
from runtime.breaker import Breaker
from runtime.service import cancelled
from runtime.settings import Settings

_log = structlog.get_logger("projector.cache")

_BUDGET = 0.05  # seconds
_PATIENCE = 2.0  # seconds for a probe, which may have to connect, and for a write that nobody waits for
_AT_ONCE = 500  # entries in one script call: others' reads go in between
_KEY = "projector:1:order:"  # 1: the form of the body

FILL = 5.0  # seconds
MARKED = 2 * FILL
_JITTER = 0.1  # of a TTL: not all entries of one moment go at one moment


class Got(NamedTuple):
    """What is there, marks too, and until when what is read from PostgreSQL instead may be put in."""

    entries: dict[str, Entry]
    before: int


class Put(NamedTuple):
    """Orders whose copy was replaced, and until when what is read from PostgreSQL from now on may be put in."""

    replaced: list[str]
    before: int


class OrderCache:
    """Orders by id. `breaker.closed` says whether it is asked at all."""

    def __init__(self, url: str) -> None:
        self._reads, self._writes = _client(url), _client(url)
        self._get = self._reads.register_script(_script("get.lua"))
        self._put = self._writes.register_script(_script("put.lua"))
        self._random = Random()  # noqa: S311  spreading, not secrecy
        self.breaker = Breaker(_changed)

    async def get(self, order_ids: Sequence[str]) -> Got | None:
        """What is there of these orders; None if the cache can't be asked."""
        if not self.breaker.closed:
            return None
        try:
            async with asyncio.timeout(_BUDGET):
                now, *found = await self._get([_KEY + order_id for order_id in order_ids])
        except (RedisError, OSError, TimeoutError):
            self.breaker.failed()
            return None
        self.breaker.succeeded()
        entries = {order_id: unpacked(one) for order_id, one in zip(order_ids, found, strict=True) if one is not None}
        return Got({order_id: entry for order_id, entry in entries.items() if entry is not None}, _later(now))

    async def put(self, entries: Mapping[str, Entry], ttl: float, before: int = 0) -> Put | None:
        """Put entries in that are newer than what is there, for some `ttl` seconds, and before that moment.

        None if the cache couldn't be reached: then nobody knows which are in.
        """
        if not self.breaker.closed:
            return None
        kept = round(ttl * 1000 * self._random.uniform(1 - _JITTER, 1 + _JITTER))
        ids, replaced, now = list(entries), list[str](), 0
        try:
            for first in range(0, len(ids), _AT_ONCE):
                some = ids[first : first + _AT_ONCE]
                packed = [entries[one].packed() for one in some]
                async with asyncio.timeout(_PATIENCE):
                    now, *done = await self._put([_KEY + order_id for order_id in some], [*packed, kept, before])
                replaced += [one for one, how in zip(some, done, strict=True) if how == 2]
        except (RedisError, OSError, TimeoutError):
            self.breaker.failed()
            return None
        self.breaker.succeeded()
        return Put(replaced, _later(now))

    async def run(self, stop: asyncio.Event) -> None:
        """Find out whether the cache is there, and again whenever it isn't, until told to stop."""
        await self.breaker.keep(self._works, stop)

    async def usable(self, seconds: float) -> bool:
        """Whether it can be asked, as soon as that is known."""
        try:
            async with asyncio.timeout(seconds):
                await self.breaker.closes()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        for client in (self._reads, self._writes):
            await client.aclose()

    async def _works(self) -> bool:
        try:
            for client in (self._reads, self._writes):
                async with asyncio.timeout(_PATIENCE):
                    await client.ping()
        except (RedisError, OSError, TimeoutError):
            return False
        return True


@asynccontextmanager
async def order_cache(settings: Settings) -> AsyncIterator[OrderCache | None]:
    """The cache, if there is one by the settings."""
    if settings.redis_url is None:
        yield None
        return
    cache, stop = OrderCache(settings.redis_url.get_secret_value()), asyncio.Event()
    running = asyncio.ensure_future(cache.run(stop))
    try:
        yield cache
    finally:
        await cancelled({running})
        await cache.close()


def _client(url: str) -> Redis:
    """One connection, made when it is first needed and again when it was lost. Nothing is tried twice: there is
    PostgreSQL."""
    return Redis.from_url(
        url,
        single_connection_client=True,
        socket_connect_timeout=_PATIENCE,
        socket_timeout=_PATIENCE,
        retry=Retry(NoBackoff(), 0),
        client_name="projector",
    )


def _script(name: str) -> bytes:
    return files("consumer.cache").joinpath(name).read_bytes()


def _later(now: int) -> int:
    return now + round(FILL * 1000)


def _changed(closed: bool) -> None:
    if closed:
        _log.info("cache_used")
    else:
        _log.warning("cache_left_out")
