"""Readers who look at all read models at once, again and again: they have to agree, and no order's version goes back.

Each look is one statement, so one snapshot: whatever was swapped meanwhile, what it shows belongs together.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple

import asyncpg

from schemas.connection import Connection
from testkit.deadline import eventually
from tests.support.fleet import Member

_BEGUN = "looking"
_PATIENCE = 30.0  # seconds for the process to begin, and to end
_TOLD = 20  # things that were wrong
_SLOW = 0.01  # seconds from which on a look is told with its time

_EVERY = 0.02  # seconds between two looks of a reader
CUSTOMERS = range(3, 300)  # of the simulated shop: those with a few orders each, after some thousands of orders
_LOOK = """
    WITH theirs AS MATERIALIZED (
        SELECT o.order_id, o.version, o.currency, o.status, o.total, o.refunded, o.delivered_at, o.cancelled_at,
               o.confirmed_at IS NOT NULL AND o.shipped_at IS NULL AND o.cancelled_at IS NULL AND o.paid >= o.total
                   AS ready,
               (SELECT count(*) FROM read_model.order_timeline AS t WHERE t.order_id = o.order_id) AS told,
               EXISTS (SELECT FROM read_model.fulfilment_queue AS q WHERE q.order_id = o.order_id) AS queued
        FROM read_model.order_summary AS o
        WHERE o.customer_id = $1
    )
    SELECT (SELECT json_agg(t) FROM theirs AS t)::text AS orders,
           (SELECT json_agg(c) FROM read_model.customer_summary AS c WHERE c.customer_id = $1)::text AS sums
"""


@dataclass
class Onlooker:
    """One reader, on a connection of its own. `wrong` has what it saw that can't be; `seconds`, how long each took."""

    connection: Connection
    random: Random
    customers: range = CUSTOMERS
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    slow: list[tuple[float, float]] = field(default_factory=list)  # when it began (time.time()), and what it took
    seen: dict[str, int] = field(default_factory=dict)  # the newest version of each order

    async def run(self) -> None:
        statement = await self.connection.prepare(_LOOK)
        while True:
            customer = f"c-{self.random.choice(self.customers):05d}"
            began = time.monotonic()
            row = await statement.fetchrow(customer)
            self.seconds.append(time.monotonic() - began)
            if self.seconds[-1] >= _SLOW:
                self.slow.append((time.time() - self.seconds[-1], self.seconds[-1]))
            assert row is not None
            self.look(_parsed(row["orders"]), _parsed(row["sums"]))
            await asyncio.sleep(_EVERY)

    def look(self, orders: Sequence[dict[str, Any]], sums: Sequence[dict[str, Any]]) -> None:
        """Hold what was seen of a customer against itself, and against what was seen before."""
        self.wrong += torn(orders, sums)
        for order in orders:
            before = self.seen.get(order["order_id"], 0)
            if order["version"] < before:
                self.wrong.append(f"{order['order_id']} went back from {before} to {order['version']}")
            self.seen[order["order_id"]] = max(before, order["version"])


def torn(orders: Sequence[dict[str, Any]], sums: Sequence[dict[str, Any]]) -> list[str]:
    """What doesn't belong together in what was seen of a customer at once."""
    wrong = []
    for order in orders:
        if order["told"] != order["version"]:
            wrong.append(f"{order['order_id']} at {order['version']} has a timeline of {order['told']}")
        if order["queued"] != order["ready"]:
            wrong.append(f"{order['order_id']} is {'' if order['queued'] else 'not '}queued and should not be so")
    by_currency = {row["currency"]: row for row in sums}
    for currency in {*by_currency, *(order["currency"] for order in orders)}:
        theirs = [order for order in orders if order["currency"] == currency]
        kept = [order for order in theirs if order["cancelled_at"] is None]
        expected = {
            "orders": len(theirs),
            "cancelled_orders": len(theirs) - len(kept),
            "delivered_orders": sum(order["delivered_at"] is not None for order in theirs),
            "open_orders": sum(order["delivered_at"] is None and order["status"] != "refunded" for order in kept),
            "revenue": sum((order["total"] - order["refunded"] for order in kept), Decimal(0)),
        }
        row = by_currency.get(currency, dict.fromkeys(expected))
        wrong += [
            f"{name} of a customer is {row[name]}, its orders make {value}"
            for name, value in expected.items()
            if row[name] != value
        ]
    return wrong


class Seen(NamedTuple):
    """What all of them saw: seconds that looks took, the shortest first, what was wrong, and when slow ones were."""

    looks: list[float]
    wrong: list[str]
    slow: list[tuple[float, float]]

    def longest(self, moments: Sequence[float], around: float) -> tuple[float, float]:
        """The longest of the slow looks that were under way within so many seconds of one of these moments, and of all
        others."""
        near, far = [0.0], [0.0]
        for began, seconds in self.slow:
            close = any(began - around <= moment <= began + seconds + around for moment in moments)
            (near if close else far).append(seconds)
        return max(near), max(far)

    def percentile(self, percent: float) -> float:
        """The nearest rank: a value that was really measured."""
        return self.looks[min(int(len(self.looks) * percent / 100), len(self.looks) - 1)]


@asynccontextmanager
async def onlookers(url: str, count: int, seed: int, customers: range = CUSTOMERS) -> AsyncIterator[Callable[[], Seen]]:
    """So many of them, as long as the context lasts, in a process of their own: what a test's process is busy with
    makes nobody wait there. What they saw can be asked for afterwards. Raises what a reader failed with."""
    numbers = map(str, (count, seed, customers.start, customers.stop))
    process = Member(("-m", "tests.faults.onlookers", *numbers), {"DATABASE_URL": url})
    said: list[str] = []
    try:
        await eventually(lambda: process.code is not None or _BEGUN in process.said(), _PATIENCE)
        yield lambda: Seen(**json.loads(said[0]))
        process.signal(signal.SIGTERM)
        assert await process.ended(_PATIENCE) == 0, process.said()[-4000:]
        said.append(process.said().splitlines()[-1])
    finally:
        process.close()


async def _looking(url: str, count: int, seed: int, first: int, end: int) -> None:
    """The process: looks until it is told to stop, and says what was seen."""
    customers = range(first, end)
    found = [Onlooker(await asyncpg.connect(url), Random(seed + number), customers) for number in range(count)]
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    tasks = [asyncio.ensure_future(one.run()) for one in found]
    print(_BEGUN, flush=True)
    await asyncio.wait([*tasks, asyncio.ensure_future(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()
    looks = sorted(seconds for one in found for seconds in one.seconds)
    wrong = [line for one in found for line in one.wrong][:_TOLD]
    slow = [look for one in found for look in one.slow]
    print(json.dumps({"looks": looks, "wrong": wrong, "slow": slow}), flush=True)


def _parsed(text: str | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [] if text is None else json.loads(text, parse_float=Decimal)
    return found


if __name__ == "__main__":
    asyncio.run(_looking(os.environ["DATABASE_URL"], *map(int, sys.argv[1:])))
