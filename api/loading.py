"""Orders by id, many readers' at once: what is asked while a look is under way is looked up together in the next one.

A reader never joins a look that has begun, so what it gets was so after it asked. Two looks are under way at most, so
however many readers there are, and however often they ask for the same order, the cache and PostgreSQL see two.
The idea is that of a data loader (Facebook's Haxl and DataLoader), across requests instead of within one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import orjson
from prometheus_client import CollectorRegistry, Counter

from api.etags import OrderTag
from api.freshness import Freshness
from consumer.cache.entry import Entry
from consumer.cache.reading import shown
from consumer.cache.store import OrderCache
from runtime.postgres import leased
from schemas.connection import Pool

Source = Literal["read_model", "cache", "write_model"]

ACQUIRE = 2.0  # seconds to wait for a connection; then the service is too busy
_LOOKS = 2  # at once
_MOST_FILLS = 20  # looks whose orders are to be put into the cache; what is more isn't


@dataclass(frozen=True)
class Found:
    """An order as it was found. `order` is JSON; `tag` is None for what is not the read models'."""

    version: int
    order: bytes
    source: Source
    tag: OrderTag | None
    as_of: datetime

    def body(self, staleness_ms: int | None) -> bytes:
        """The answer's JSON."""
        told = {
            "version": self.version,
            "as_of": self.as_of,
            "staleness_ms": staleness_ms,
            "source": self.source,
        }
        return b'{"order":' + self.order + b"," + orjson.dumps(told)[1:]


@dataclass
class _Asked:
    """All who ask for one order in one look. `at_least` is the highest version that one of them needs."""

    at_least: int = 0
    answers: list[asyncio.Future[Found | None]] = field(default_factory=list)


class OrderLoader:
    """Looks orders up. `cache`: where it looks first, if there is one."""

    def __init__(
        self, pool: Pool, freshness: Freshness, registry: CollectorRegistry, cache: OrderCache | None = None
    ) -> None:
        self._pool = pool
        self._freshness = freshness
        self._cache = cache
        self._asked: dict[str, _Asked] = {}
        self._looks: set[asyncio.Task[None]] = set()
        self._fills: deque[tuple[Mapping[str, Entry], int]] = deque()
        self._filling: asyncio.Task[None] | None = None
        self._counts = Counter(
            "projector_api_cache_reads", "Orders asked of the cache, by what it had", ["result"], registry=registry
        )

    async def get(self, order_id: str, at_least: int = 0) -> Found | None:
        """The order as readers see it; None if it isn't there. From the cache only if that has this version.

        Raises Unavailable if PostgreSQL can't be asked.
        """
        answer: asyncio.Future[Found | None] = asyncio.get_running_loop().create_future()
        asked = self._asked.setdefault(order_id, _Asked())
        asked.answers.append(answer)
        asked.at_least = max(asked.at_least, at_least)
        if sum(not look.done() for look in self._looks) < _LOOKS:  # one that has ended may not be tidied away yet
            look = asyncio.ensure_future(self._look())  # begins once all who can ask now have asked
            self._looks.add(look)
            look.add_done_callback(self._looks.discard)
        return await answer

    async def _look(self) -> None:
        while self._asked:
            batch, self._asked = self._asked, {}
            try:
                found = await self._found(batch)
            except Exception as error:  # whatever it is, it is what those who asked are told
                for answer in _waiting(batch.values()):
                    answer.set_exception(error)
                continue
            for order_id, asked in batch.items():
                for answer in _waiting([asked]):
                    answer.set_result(found.get(order_id))

    async def _found(self, batch: Mapping[str, _Asked]) -> dict[str, Found]:
        there = await self._cache.get(list(batch)) if self._cache is not None else None
        found = self._cached(batch, there.entries) if there is not None else {}
        missing = [order_id for order_id in batch if order_id not in found]
        if missing:
            async with leased(self._pool, ACQUIRE) as connection:
                read = await shown(connection, missing)
            for order_id, entry in read.orders.items():
                self._freshness.seen(entry.generation)
                found[order_id] = _found(entry, "read_model")
            if self._cache is not None and there is not None and read.current:
                self._fill(self._cache, read.orders, there.before)
        return found

    def _cached(self, batch: Mapping[str, _Asked], there: Mapping[str, Entry]) -> dict[str, Found]:
        oldest = self._freshness.generation
        found = {
            order_id: _found(entry, "cache")
            for order_id, entry in there.items()
            if entry.body and entry.generation >= oldest and entry.version >= batch[order_id].at_least
        }
        self._counts.labels("hit").inc(len(found))
        self._counts.labels("old").inc(len(there) - len(found))
        self._counts.labels("miss").inc(len(batch) - len(there))
        return found

    def _fill(self, cache: OrderCache, read: Mapping[str, Entry], before: int) -> None:
        """Have what was read put into the cache, by somebody who isn't waited for."""
        if len(self._fills) < _MOST_FILLS:
            self._fills.append((read, before))
        if self._filling is None or self._filling.done():
            self._filling = asyncio.ensure_future(self._filled(cache))

    async def _filled(self, cache: OrderCache) -> None:
        while self._fills:
            read, before = self._fills.popleft()
            await cache.put(read, self._freshness.copies_kept, before)


def _found(entry: Entry, source: Source) -> Found:
    assert entry.as_of is not None  # it is no mark
    return Found(entry.version, entry.body, source, OrderTag(entry.generation, entry.version), entry.as_of)


def _waiting(asked: Iterable[_Asked]) -> Iterator[asyncio.Future[Found | None]]:
    """Those who haven't gone away meanwhile."""
    return (answer for one in asked for answer in one.answers if not answer.done())
