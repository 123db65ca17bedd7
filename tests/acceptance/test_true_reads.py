"""Many clients write and read at random, through several processes of the service, while all that can happen happens:
no read is older than what its token or its minimum asks for, no client sees a version go back, and a version of an
order is one body, wherever it was read.

`TRUE_READS=100000 pytest tests/acceptance/test_true_reads.py` is the long run (`make test-true-reads`).
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any

import pytest

from testkit.deadline import eventually
from tests.support.commands import place
from tests.support.fleet import Fleet, Member, fleet, projector
from tests.support.http_client import Answer, Client
from tests.support.valkey import Valkey, valkey

SEED = int(os.environ.get("FAULT_SEED", "7"))
READS = int(os.environ.get("TRUE_READS", "3000"))
CLIENTS, SERVICES, WORKERS, ORDERS = 50, 3, 2, 40
SECRET = "s" * 32


class Books:
    """What all clients have seen, and what was wrong with it."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.bodies: dict[tuple[str, int], str] = {}
        self.wrong: list[str] = []
        self.latencies: list[float] = []

    @property
    def reads(self) -> int:
        return self.counts["read"]

    def saw(self, order: str, answer: Answer, least: int, how: str) -> int:
        """The version that a reader got; `least` is what it must not be older than."""
        version, told = answer.body["version"], answer.body["order"]
        self.counts["read"] += 1
        self.counts[answer.body["source"]] += 1
        if version < least:
            self.wrong.append(f"{order}: {how} of {least} got {version} from {answer.body['source']}")
        if told["version"] != version:
            self.wrong.append(f"{order}: {version} in the answer, {told['version']} in the order")
        content = str((told["status"], told["shipping_address"], told["total"]))
        if self.bodies.setdefault((order, version), content) != content:
            self.wrong.append(f"{order}: version {version} is two bodies, the second from {answer.body['source']}")
        return int(version)


class Shopper:
    """One client. It keeps, of each order, the highest version that it has seen, and the token that it got with it."""

    def __init__(self, number: int, ports: list[int], orders: list[str], books: Books, random: Random) -> None:
        self._number = number
        self._clients = [Client("127.0.0.1", port) for port in ports]
        self._orders = orders
        self._books = books
        self._random = random
        self._seen: dict[str, tuple[int, str]] = {}
        self._writes = 0

    async def shop(self) -> None:
        while self._books.reads < READS:
            order = self._random.choice(self._orders)
            try:
                if self._random.random() < 0.1:
                    await self._write(order)
                else:
                    await self._read(order)
            except (OSError, EOFError):
                self._books.counts["connection lost"] += 1
        for client in self._clients:
            client.close()

    async def _write(self, order: str) -> None:
        self._writes += 1
        address = {"street": f"{self._number}-{self._writes}", "city": "B", "postal_code": "1", "country": "DE"}
        answer = await self._ask("POST", f"/orders/{order}/address", {}, {"shipping_address": address})
        self._books.counts[f"write {answer.status}"] += 1
        if answer.status == 202:
            self._keep(order, answer.body["version"], answer.headers["x-write-token"])

    async def _read(self, order: str) -> None:
        version, token = self._seen.get(order, (0, ""))
        if token and self._random.random() < 0.5:
            answer = await self._ask("GET", f"/orders/{order}", {"X-Write-Token": token})
            how = "a token"
        else:
            answer = await self._ask("GET", f"/orders/{order}?min_version={version}&wait_ms=1000", {})
            how = "a minimum"
        if answer.status == 200:
            seen = self._books.saw(order, answer, version, how)
            self._keep(order, seen, answer.headers["x-write-token"])
        else:
            self._books.counts[f"read {answer.status}"] += 1

    async def _ask(self, method: str, target: str, headers: dict[str, str], body: Any = None) -> Answer:
        began = time.monotonic()
        answer = await self._random.choice(self._clients).ask(method, target, headers, body)
        self._books.latencies.append(time.monotonic() - began)
        return answer

    def _keep(self, order: str, version: int, token: str) -> None:
        if version >= self._seen.get(order, (0, ""))[0]:
            self._seen[order] = (version, token)


class Trouble:
    """What happens meanwhile, at random: workers die or stand still, the cache too, read models are swapped."""

    def __init__(self, shop: Fleet, cache: Valkey, random: Random, over: asyncio.Event) -> None:
        self._shop = shop
        self._cache = cache
        self._random = random
        self._over = over
        self.counts: Counter[str] = Counter()

    async def of_workers(self) -> None:
        running = [self._shop.start() for _ in range(WORKERS)]
        while not await self._pause(0.5, 2.5):
            at = self._random.randrange(WORKERS)
            if self._random.random() < 0.5:
                running[at].signal(signal.SIGKILL)
                await running[at].ended()
                running[at] = self._shop.start()
                self.counts["killed"] += 1
            else:
                running[at].signal(signal.SIGSTOP)
                await self._pause(0.2, 3.0)
                running[at].signal(signal.SIGCONT)
                self.counts["paused"] += 1

    async def of_the_cache(self) -> None:
        while not await self._pause(2.0, 5.0):
            if self._random.random() < 0.5:
                self._cache.kill9()
                await self._pause(0.0, 1.0)
                await self._cache.start()
                self.counts["cache killed"] += 1
            else:
                self._cache.freeze()
                await self._pause(0.1, 1.0)
                self._cache.thaw()
                self.counts["cache frozen"] += 1

    async def of_swaps(self) -> None:
        settings = {name: value for name, value in self._shop.settings.items() if name != "PROJECTOR_LOG_FORMAT"}
        while not await self._pause(1.0, 3.0):
            ended = await projector("rebuild", "--source", "journal", **settings)
            self.counts[f"rebuild {ended.code}"] += 1
            await projector("rebuild", "--drop-old", **settings)

    async def _pause(self, least: float, most: float) -> bool:
        """Whether it is over."""
        try:
            await asyncio.wait_for(self._over.wait(), self._random.uniform(least, most))
        except TimeoutError:
            return False
        return True


@asynccontextmanager
async def services(shop: Fleet) -> AsyncIterator[list[int]]:
    """Processes of the service, by port."""
    members = [Member((*shop.program, "api", "--port", "0", "--dev"), shop.settings) for _ in range(SERVICES)]
    try:
        yield [await port_of(member) for member in members]
        for member in members:
            assert member.code is None, member.said()[-4000:]
            assert "request_failed" not in member.said(), member.said()[-4000:]
    finally:
        for member in members:
            member.close()


async def port_of(member: Member) -> int:
    found = await eventually(lambda: re.search(r'"port":(\d+)', member.said()), 30)
    assert found is not None
    return int(found[1])


@pytest.mark.timeout(1800)
async def test_no_read_is_older_than_it_may_be(database_url: str, kafka_bootstrap: str, topic: str) -> None:
    print(f"seed {SEED}")
    random, books, over = Random(SEED), Books(), asyncio.Event()
    async with AsyncExitStack() as stack:
        cache = await stack.enter_async_context(valkey())
        shop = await stack.enter_async_context(
            fleet(
                *(kafka_bootstrap, database_url, topic),
                REDIS_URL=cache.url,
                PROJECTOR_API_SECRET=SECRET,
                PROJECTOR_SESSION_TIMEOUT=2,
            )
        )
        shop.losses = {0, -signal.SIGKILL}
        ports = await stack.enter_async_context(services(shop))
        relay = Member((*shop.program, "relay"), shop.settings)
        stack.callback(relay.close)
        orders = [await placed(ports[0]) for _ in range(ORDERS)]
        trouble = Trouble(shop, cache, Random(random.random()), over)
        happens: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(one) for one in (trouble.of_workers(), trouble.of_the_cache(), trouble.of_swaps())
        ]
        began = time.monotonic()
        shoppers = [Shopper(n, ports, orders, books, Random(random.random())) for n in range(CLIENTS)]
        shopping: asyncio.Future[Any] = asyncio.gather(*(one.shop() for one in shoppers))
        done, _ = await asyncio.wait([shopping, *happens], return_when=asyncio.FIRST_COMPLETED)
        took = time.monotonic() - began
        over.set()
        for one in (*happens, shopping):
            await one
        assert shopping in done
    latencies = sorted(books.latencies)
    print(
        f"{books.reads} reads in {took:.0f} s: {dict(books.counts)}; {dict(trouble.counts)}; "
        f"p50 {latencies[len(latencies) // 2] * 1000:.1f} ms, p99 {latencies[len(latencies) * 99 // 100] * 1000:.0f} ms"
    )
    assert books.wrong == []
    assert books.counts["cache"] > 0
    assert books.counts["write_model"] > 0
    assert books.counts["read 500"] == books.counts["write 500"] == 0


async def placed(port: int) -> str:
    client = Client("127.0.0.1", port)
    answer = await client.ask("POST", "/orders", body=place())
    client.close()
    assert answer.status == 202, answer
    return str(answer.body["order_id"])
