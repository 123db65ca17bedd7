"""Looking orders up for many readers at once: who shares a look with whom, and where the answer comes from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from api.freshness import Freshness
from api.loading import OrderLoader
from consumer.cache.entry import Entry
from consumer.cache.store import Got, OrderCache, Put
from runtime.settings import load
from schemas.connection import Pool
from schemas.errors import Unavailable

NOW = datetime(2026, 11, 27, tzinfo=UTC)


class Database:
    """Orders by id; each look waits until it is let go."""

    def __init__(self, **versions: int) -> None:
        self.versions = versions
        self.looks: list[tuple[list[str], asyncio.Future[None]]] = []
        self.error: Exception | None = None
        self.replica = False

    @asynccontextmanager
    async def acquire(self, timeout: float) -> AsyncIterator[Database]:
        yield self

    async def fetch(self, _: str, order_ids: Sequence[str]) -> list[dict[str, Any]]:
        let_go: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.looks.append((sorted(order_ids), let_go))
        seen = dict(self.versions)
        await let_go
        if self.error is not None:
            raise self.error
        return [
            {
                "order_id": one,
                "generation": 2,
                "version": seen[one],
                "as_of": NOW,
                "body": "{}",
                "replica": self.replica,
            }
            for one in order_ids
            if one in seen
        ]


class Copies:
    """A cache that has what it is given."""

    def __init__(self, **entries: Entry) -> None:
        self.entries = entries
        self.put_in: list[tuple[dict[str, Entry], float, int]] = []

    async def get(self, order_ids: Sequence[str]) -> Got | None:
        return Got({one: self.entries[one] for one in order_ids if one in self.entries}, 77)

    async def put(self, entries: Mapping[str, Entry], ttl: float, before: int = 0) -> Put | None:
        self.put_in.append((dict(entries), ttl, before))
        return Put([], 0)


def loader(database: Database, cache: Copies | None = None) -> tuple[OrderLoader, Freshness]:
    pool = cast("Pool", database)
    freshness = Freshness(load({}), pool, CollectorRegistry())
    return OrderLoader(pool, freshness, CollectorRegistry(), cast("OrderCache | None", cache)), freshness


async def turn() -> None:
    """Let everybody get as far as they can."""
    loop = asyncio.get_running_loop()
    for _ in range(10):
        next_round: asyncio.Future[None] = loop.create_future()
        loop.call_soon(next_round.set_result, None)
        await next_round


def asked(ours: OrderLoader, *orders: str) -> list[asyncio.Task[Any]]:
    return [asyncio.ensure_future(ours.get(order)) for order in orders]


async def test_those_who_ask_at_the_same_moment_share_one_look() -> None:
    database = Database(a=1, b=2)
    ours, _ = loader(database)
    tasks = asked(ours, "a", "b", "a", "none")
    await turn()
    [(orders, let_go)] = database.looks
    assert orders == ["a", "b", "none"]
    let_go.set_result(None)
    found = [await task for task in tasks]
    assert [one and (one.version, one.source) for one in found] == [
        (1, "read_model"), (2, "read_model"), (1, "read_model"), None,
    ]  # fmt: skip


async def test_nobody_joins_a_look_that_has_begun() -> None:
    """It may have been made before what this reader already knows of."""
    database = Database(a=1)
    ours, _ = loader(database)
    [first] = asked(ours, "a")
    await turn()
    database.versions["a"] = 2
    [second] = asked(ours, "a")
    await turn()
    assert [orders for orders, _ in database.looks] == [["a"], ["a"]]
    for _, let_go in database.looks:
        let_go.set_result(None)
    assert ((await first).version, (await second).version) == (1, 2)


async def test_two_looks_are_under_way_at_most_and_the_rest_go_together_in_the_next() -> None:
    database = Database(**{f"o{n}": n for n in range(50)})
    ours, _ = loader(database)
    tasks = []
    for n in range(50):
        tasks += asked(ours, f"o{n}")
        await turn()
    assert [orders for orders, _ in database.looks] == [["o0"], ["o1"]]
    database.looks[0][1].set_result(None)
    await turn()
    assert len(database.looks) == 3
    assert len(database.looks[2][0]) == 48
    for _, let_go in database.looks[1:]:
        let_go.set_result(None)
    assert [(await task).version for task in tasks] == list(range(50))


async def test_a_look_that_fails_fails_those_who_asked_and_nobody_else() -> None:
    database = Database(a=1)
    ours, _ = loader(database)
    [first] = asked(ours, "a")
    await turn()
    database.error = OSError()
    database.looks[0][1].set_result(None)
    with pytest.raises(Unavailable):
        await first
    database.error = None
    [second] = asked(ours, "a")
    await turn()
    database.looks[1][1].set_result(None)
    assert (await second).version == 1


async def test_a_reader_who_goes_away_takes_nothing_from_the_others() -> None:
    database = Database(a=1)
    ours, _ = loader(database)
    first, second = asked(ours, "a", "a")
    await turn()
    first.cancel()
    await turn()
    database.looks[0][1].set_result(None)
    assert (await second).version == 1


@pytest.mark.parametrize(
    ("entry", "at_least", "source"),
    [
        (Entry(2, 3, NOW, b"{}"), 0, "cache"),
        (Entry(2, 3, NOW, b"{}"), 3, "cache"),
        (Entry(3, 1, NOW, b"{}"), 0, "cache"),  # another process has seen the swap first
        (Entry(2, 3, NOW, b"{}"), 4, "read_model"),
        (Entry(1, 3, NOW, b"{}"), 0, "read_model"),
        (Entry(2, 3), 0, "read_model"),
    ],
)
async def test_a_copy_is_good_enough_or_is_not(entry: Entry, at_least: int, source: str) -> None:
    database, cache = Database(o=4), Copies(o=entry)
    ours, freshness = loader(database, cache)
    freshness.seen(2)
    task = asyncio.ensure_future(ours.get("o", at_least))
    await turn()
    for _, let_go in database.looks:
        let_go.set_result(None)
    found = await task
    assert found is not None
    assert (found.source, found.version) == (source, entry.version if source == "cache" else 4)
    await turn()
    filled = [(Entry(2, 4, NOW, b"{}"), 77)] if source == "read_model" else []
    assert [(entries["o"], before) for entries, _, before in cache.put_in] == filled


async def test_what_is_read_says_which_generation_readers_see() -> None:
    database = Database(o=4)
    ours, freshness = loader(database)
    [task] = asked(ours, "o")
    await turn()
    database.looks[0][1].set_result(None)
    await task
    assert freshness.generation == 2


async def test_what_a_replica_says_is_kept_nowhere() -> None:
    """Nobody knows how old it is: it may be older than the mark that was to keep it out."""
    database, cache = Database(o=4), Copies()
    database.replica = True
    ours, _ = loader(database, cache)
    [task] = asked(ours, "o")
    await turn()
    database.looks[0][1].set_result(None)
    assert (await task).version == 4
    await turn()
    assert cache.put_in == []


async def test_who_asks_again_when_both_looks_have_just_ended_is_answered() -> None:
    """A look that has ended is none, though nobody has tidied it away yet: it will look for nobody any more."""
    database = Database(a=1, b=2)
    ours, _ = loader(database)

    async def twice() -> int:
        await ours.get("a")
        found = await ours.get("a")
        assert found is not None
        return found.version

    first = asyncio.ensure_future(twice())
    await turn()
    [second] = asked(ours, "b")
    await turn()
    for _, let_go in list(database.looks):
        let_go.set_result(None)
    await turn()
    assert [orders for orders, _ in database.looks[2:]] == [["a"]]
    database.looks[2][1].set_result(None)
    assert (await first, (await second).version) == (1, 2)
