"""The write side in a test's hands: a handler on a fresh database, commands by name, and what they left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from consumer.local import LocalProjection
from consumer.read_models import READ_MODELS
from producer import order_json
from producer.answers import Accepted, Answer, Key
from producer.handler import CommandHandler
from runtime.failpoints import Failpoints
from runtime.settings import Settings, load
from schemas.connection import Pool
from schemas.order import OrderState
from testkit.deadline import eventually
from tests.support.commands import command

TOPIC = "orders.events"
SOURCE = "/shop/orders"


class Till:
    """A handler and its database."""

    def __init__(self, handler: CommandHandler, pool: Pool) -> None:
        self.handler = handler
        self.pool = pool

    async def tell(self, order_id: str, *kinds: str) -> None:
        """Commands that have to be accepted."""
        for kind in kinds:
            answer = await self.handler.handle(command(kind, order_id))
            assert isinstance(answer, Accepted), (kind, answer)

    async def ask(self, kind: str, order_id: str, data: Any = ..., **more: Any) -> Answer:
        key = more.pop("key", None)
        return await self.handler.handle(
            command(kind, order_id, data), key=None if key is None else Key("me", key), **more
        )

    async def order(self, order_id: str) -> OrderState | None:
        text = await self.fetchval("SELECT state::text FROM write_model.orders WHERE order_id = $1", order_id)
        return None if text is None else order_json.load(text)

    async def outbox(self, order_id: str | None = None) -> list[tuple[str, int, str]]:
        """(order, version, type) of what is to be published, by position."""
        rows = await self.fetch("SELECT aggregateid, sequence, type FROM write_model.outbox ORDER BY position")
        return [tuple(row) for row in rows if order_id in (None, row["aggregateid"])]

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        async with self.pool.acquire() as connection:
            return await connection.fetch(query, *arguments)

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        async with self.pool.acquire() as connection:
            return await connection.fetchval(query, *arguments)


@asynccontextmanager
async def till(url: str, *, local: bool = False, failpoints: str = "", size: int = 12) -> AsyncIterator[Till]:
    """A handler on a database; `local`: local-first."""
    async with asyncpg.create_pool(url, min_size=1, max_size=size) as pool:
        handler = CommandHandler(
            pool,
            source=SOURCE,
            topic=TOPIC,
            project=LocalProjection(READ_MODELS) if local else None,
            failpoints=Failpoints(failpoints),
        )
        yield Till(handler, pool)


def settings_of(url: str, bootstrap: str = "localhost:9092", topic: str = TOPIC, **more: Any) -> Settings:
    """Settings of a relay or a saga runner."""
    return load({}, database_url=url, kafka_bootstrap_servers=bootstrap, topics=(topic,), **more)


_DIFFERENT = """
SELECT order_id, w.version AS written, r.version AS shown, w.status AS written_status, r.status AS shown_status
FROM write_model.orders AS w
FULL JOIN read_model.order_summary AS r USING (order_id)
WHERE (w.version, w.status, w.total, w.paid, w.refunded)
    IS DISTINCT FROM (r.version, r.status, r.total, r.paid, r.refunded)
ORDER BY order_id
"""
_LEFT = """
SELECT (SELECT count(*) FROM projector.parked_events) AS parked,
       (SELECT count(*) FROM projector.dead_letters) AS letters,
       (SELECT count(*) FROM projector.ledger) - (SELECT count(*) FROM write_model.outbox) AS events
"""


async def not_shown(pool: Pool) -> list[str]:
    """Orders that the read models show otherwise than their commands left them, and what is left over beside them."""
    async with pool.acquire() as connection:
        found = [str(dict(row)) for row in await connection.fetch(_DIFFERENT)]
        left = await connection.fetchrow(_LEFT)
    assert left is not None
    return found + [f"{name}: {count}" for name, count in left.items() if count]


async def shown(pool: Pool, timeout: float = 60) -> None:
    """Wait until the read models show every order as its commands left it."""

    async def equal() -> bool:
        found = await not_shown(pool)
        assert not found, (len(found), found[:5])
        return True

    await eventually(equal, timeout)
