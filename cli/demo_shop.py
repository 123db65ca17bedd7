"""The demo's own shop: orders placed by commands, through outbox and relay, and sagas that undo what can't go on.

What it meant is what its commands left in the outbox: the recomputation is told that, and nothing of what came of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from cli.write_side import commanding
from consumer import reference
from producer import saga_store
from producer.answers import Accepted
from producer.handler import CommandHandler
from producer.order import Command, Kind
from producer.relay import Relay
from producer.relay_observation import RelayObservation
from producer.saga_observation import SagaObservation
from producer.saga_runner import SagaRunner
from runtime import service
from runtime.settings import Settings
from runtime.sql import Queries
from schemas.connection import Pool

_SQL = Queries("cli", "demo.sql")

_AT_ONCE = 8  # commands
CONNECTIONS = _AT_ONCE + 2
_LOOK_EVERY = 0.05  # seconds
# How orders go, and how often.
_STORIES: tuple[tuple[int, tuple[Kind, ...]], ...] = (
    (60, ("confirm", "pay", "ship", "deliver")),
    (12, ("add_line", "confirm", "pay", "ship", "fail_delivery", "ship", "deliver")),
    (12, ("confirm", "pay")),
    (10, ("confirm", "fail_payment")),
    (6, ("confirm", "pay", "cancel")),
)
_UNDONE = "demo-undone"  # an order that everybody may look at


@dataclass
class DemoShop:
    """Places orders, and waits until everything that follows from them is published."""

    settings: Settings
    pool: Pool
    handler: CommandHandler
    relay: RelayObservation
    orders: int
    seed: int

    async def run(self) -> None:
        """Place all orders and take each as far as its story goes."""
        random = Random(self.seed)  # noqa: S311  a story, not a secret
        weights, stories = zip(*_STORIES, strict=True)
        todo = [(_UNDONE, ("confirm", "fail_payment"))]
        todo += [(f"demo-{n}", story) for n, story in enumerate(random.choices(stories, weights, k=self.orders - 1))]
        left = iter(todo)
        clerks = [Random(random.random()) for _ in range(_AT_ONCE)]  # noqa: S311  the same story each time
        await asyncio.gather(*(self._clerk(left, one) for one in clerks))
        while not await self._settled():  # noqa: ASYNC110  what it waits for is in the database
            await asyncio.sleep(_LOOK_EVERY)

    async def meant(self) -> list[reference.Event]:
        """The events as they were committed."""
        async with self.pool.acquire() as connection:
            rows = await connection.fetch(_SQL["outbox"])
        return [reference.Event({**row, "data": orjson.loads(row["data"])}) for row in map(dict, rows)]

    async def differences(self) -> list[str]:
        """Orders that the read models show otherwise than their commands left them."""
        async with self.pool.acquire() as connection:
            return [str(dict(row)) for row in await connection.fetch(_SQL["not_shown"])]

    async def show(self, console: Console) -> None:
        """One order that was undone, from end to end."""
        async with self.pool.acquire() as connection:
            timeline = await connection.fetch(_SQL["timeline"], _UNDONE)
            steps = {step.cause: step for step in await saga_store.history(connection, _UNDONE)}
        table = Table("version", "event", "what its saga made of it", title=f"Order {_UNDONE}: a payment failed")
        for row in timeline:
            step = steps.get(row["event_id"])
            asked = ", ".join(f"asks for {one['command']}" for one in step.commands) if step else ""
            table.add_row(str(row["version"]), row["event_type"], f"{step.after} {asked}".strip() if step else "")
        console.print(table)

    async def _clerk(self, left: Any, random: Random) -> None:
        for order_id, story in left:
            for command in _commands(order_id, story, random):
                answer = await self.handler.handle(command)
                assert isinstance(answer, Accepted), (command.kind, answer)

    async def _settled(self) -> bool:
        """Whether no saga has anything left to ask for, and all is published."""
        async with self.pool.acquire() as connection:
            return bool(await connection.fetchval(_SQL["settled"]))


@asynccontextmanager
async def shop(settings: Settings, pool: Pool, orders: int, seed: int) -> AsyncIterator[DemoShop]:
    """A shop with its relay and its sagas, at work until the block ends."""
    stop = asyncio.Event()
    async with commanding(settings, pool) as handler:
        told = RelayObservation()
        working = asyncio.ensure_future(
            service.together(
                stop,
                settings.stop_timeout,
                Relay(settings, "demo", told).run(stop),
                SagaRunner(settings, "demo", handler, SagaObservation()).run(stop),
            )
        )
        try:
            yield DemoShop(settings, pool, handler, told, orders, seed)
        finally:
            stop.set()
            await working


def _commands(order_id: str, story: Sequence[Kind], random: Random) -> list[Command]:
    cents, quantity = random.randrange(100, 20_000), random.randrange(1, 4)
    customer = f"demo-c{random.randrange(50)}"
    line = {"sku": f"sku-{random.randrange(40)}", "title": "A thing", "quantity": quantity, "unit_price": _euros(cents)}
    total = cents * quantity * (1 + ("add_line" in story))
    data: dict[str, Any] = {
        "place": {"customer": {"id": customer, "name": f"Customer {customer}"}, "currency": "EUR", "lines": [line]},
        "add_line": {"line": line},
        "pay": {"payment_id": f"p-{order_id}", "amount": _euros(total)},
        "fail_payment": {"payment_id": f"p-{order_id}", "reason": "card declined"},
        "ship": {"carrier": "post", "tracking_number": f"t-{order_id}"},
        "fail_delivery": {"reason": "nobody at home"},
        "cancel": {"reason": "changed my mind"},
    }
    return [Command(kind, order_id, data.get(kind)) for kind in ("place", *story)]


def _euros(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"
