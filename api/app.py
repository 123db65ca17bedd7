"""The application: routes, errors and who may ask, put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from api import openapi, order_commands, order_queries, problems
from api.console import routes as console_routes
from api.console import watching
from api.console.history import History
from api.console.routes import Console
from api.console.session import Sessions
from api.counting import Counted, HeadAsGet
from api.described import OPEN, Answer, operation
from api.freshness import Freshness
from api.loading import ACQUIRE, OrderLoader
from api.reading import SQL, Orders
from api.reads import Reads
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
_PAGES = frozenset({"/health/live", "/health/ready", "/metrics"})

_App = Callable[[Any, Any, Any], Awaitable[None]]


class Pools(NamedTuple):
    """Connections: for commands, and for reads, which may be to a replica, of another role, and are read-only."""

    writes: Pool
    reads: Pool


@dataclass(frozen=True)
class Service:
    """The application, and what has to run beside it."""

    app: _App
    pages: _App  # health and metrics alone, for whoever asks: for a port that clients can't reach
    settings: Settings
    waiting: Waiting
    freshness: Freshness
    history: History
    registry: CollectorRegistry

    async def run(self, stop: asyncio.Event) -> None:
        """Wait for news, look how fresh everything is and remember it, until told to stop."""
        await asyncio.gather(
            self.waiting.run(stop),
            self.waiting.listen(self.settings, stop),
            self.freshness.run(stop),
            watching.keep(self.history, self.freshness, stop),
        )


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
    waits = Gauge("projector_api_waiting_requests", "Who waits for a version, streams too", registry=registry)
    waits.set_function(lambda: waiting.count)
    app = FastAPI(
        title="order-projector",
        version=_VERSION,
        openapi_url=None,  # api.openapi serves it; and the framework's pages load scripts from elsewhere
        redirect_slashes=False,
        telemetry={"metrics": False, "logs": False},
    )
    problems.install(app)

    @app.get(
        "/health/live",
        **operation("live", "Is it alive?", "The process answers.", "operations", Answer("Live", "It is."), **OPEN),
    )
    async def live() -> Response:
        return Response(b'{"live":true}', media_type=_JSON)

    @app.get(
        "/health/ready",
        **operation("ready", "Is it ready?", "PostgreSQL answers.", "operations", Answer("Ready", "It is."), **OPEN),
    )
    async def ready() -> Response:
        for pool in pools:
            async with leased(pool, ACQUIRE) as connection:
                await connection.fetchval(SQL["alive"])
        return Response(b'{"ready":true}', media_type=_JSON)

    @app.get(
        "/metrics",
        response_class=PlainTextResponse,
        **operation(
            "metrics",
            "Metrics",
            "For Prometheus, in its text format.",
            "operations",
            Answer("text/plain", "By name; the documentation says what each means."),
        ),
    )
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    @app.get(
        "/freshness",
        **operation(
            "freshness",
            "How fresh is it all?",
            "Lag and staleness per partition and in all, and whether the objective is met.",
            "operations",
            Answer("FreshnessAnswer", "As it was seen last, some seconds ago at most.", ("Cache-Control",)),
        ),
    )
    async def fresh() -> Response:
        return Response(orjson.dumps(freshness.told()), media_type=_JSON, headers={"Cache-Control": "no-store"})

    tokens = _tokens(settings, dev=dev)
    reads = Reads(pools.reads, signer, waiting, freshness, orders)
    sessions, history = Sessions(signer, tokens), History()
    console = Console(reads, sessions, history, settings.freshness_objective, pools.writes, cache)
    app.include_router(order_queries.router(reads))  # first: what is asked most is looked for first
    app.include_router(order_commands.router(handler, signer, freshness))
    app.include_router(console_routes.router(console))
    openapi.install(app, order_commands.KINDS)
    gate = Gate(app, tokens, sessions.admit, certified=not dev and settings.api_tls_client_ca is not None)
    return Service(HeadAsGet(Counted(gate, registry)), _pages(app), settings, waiting, freshness, history, registry)


def _pages(app: FastAPI) -> _App:
    async def pages(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] in _PAGES:
            await app(scope, receive, send)
        else:
            await problems.Problem(404, "not-found", "only health and metrics are here").response()(
                scope, receive, send
            )

    return pages


def _tokens(settings: Settings, *, dev: bool) -> list[str] | None:
    """Those of which one is needed; None: none is."""
    if dev or (settings.api_tls_client_ca is not None and not settings.api_tokens):
        return None
    return [token.get_secret_value() for token in settings.api_tokens]


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
