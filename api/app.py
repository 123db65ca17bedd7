"""The application: routes, errors and who may ask, put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from fastapi import FastAPI, Response
from prometheus_client import CollectorRegistry, generate_latest

from api import order_commands, order_queries, problems
from api.freshness import Freshness
from api.loading import ACQUIRE, OrderLoader
from api.order_queries import Reads
from api.reading import SQL, Orders
from api.security import Gate
from api.tokens import Signer
from api.waiting import Waiting
from consumer.cache.store import OrderCache
from producer.handler import CommandHandler
from runtime.postgres import leased
from runtime.settings import Settings
from schemas.connection import Pool

_VERSION = "0.1.0"
_JSON = "application/json"


class Pools(NamedTuple):
    """Connections: for commands, and for reads, which may be to a replica, of another role, and are read-only."""

    writes: Pool
    reads: Pool


@dataclass(frozen=True)
class Service:
    """The application, and what has to run beside it."""

    app: Callable[[Any, Any, Any], Awaitable[None]]
    settings: Settings
    waiting: Waiting
    freshness: Freshness

    async def run(self, stop: asyncio.Event) -> None:
        """Wait for news and look how fresh everything is, until told to stop."""
        await asyncio.gather(self.waiting.run(stop), self.waiting.listen(self.settings, stop), self.freshness.run(stop))


def service(
    settings: Settings,
    pools: Pools,
    handler: CommandHandler,
    secret: bytes,
    *,
    dev: bool,
    cache: OrderCache | None = None,
) -> Service:
    """The application. `dev`: anybody may ask."""
    registry = CollectorRegistry()
    signer, waiting = Signer(secret), Waiting(pools.reads)
    freshness = Freshness(settings, pools.reads, registry)
    loader = OrderLoader(pools.reads, freshness, registry, cache)
    orders = Orders(loader, pools.writes, waiting, freshness, registry)
    app = FastAPI(
        title="order-projector",
        version=_VERSION,
        description="Commands on orders, and read models that say how old they are.",
        docs_url=None,  # pages that load scripts from elsewhere
        redoc_url=None,
    )
    problems.install(app)

    @app.get("/health/live", include_in_schema=False)
    async def live() -> Response:
        return Response(b'{"live":true}', media_type=_JSON)

    @app.get("/health/ready", include_in_schema=False)
    async def ready() -> Response:
        for pool in pools:
            async with leased(pool, ACQUIRE) as connection:
                await connection.fetchval(SQL["alive"])
        return Response(b'{"ready":true}', media_type=_JSON)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    @app.get("/freshness")
    async def fresh() -> Response:
        return Response(orjson.dumps(freshness.told()), media_type=_JSON, headers={"Cache-Control": "no-store"})

    app.include_router(order_queries.router(Reads(pools.reads, signer, waiting, freshness, orders)))
    app.include_router(order_commands.router(handler, signer))
    tokens = None if dev else [token.get_secret_value() for token in settings.api_tokens]
    return Service(Gate(app, tokens), settings, waiting, freshness)


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[None]:
    """What runs beside the application, for as long as the block does."""
    stop = asyncio.Event()
    beside = asyncio.ensure_future(service.run(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait([beside], timeout=5)
        beside.cancel()
