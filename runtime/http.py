"""HTTP beside a process's other work, in the same event loop: so an answer also says that the loop runs."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import structlog
import uvicorn
from prometheus_client import CollectorRegistry

from runtime.health import Checks, pages
from runtime.http_connection import HttpConnection
from runtime.settings import Settings
from schemas.errors import Refused

_log = structlog.get_logger("projector.http")

_GOODBYE = 1  # seconds for requests under way when the server is told to end
_CROWD = 50  # connections at once of metrics and health: an orchestrator and a scraper ask, seldom
_HANDSHAKE = 10.0  # seconds
_OTHER_FILES = 200  # that a process has open beside its clients' connections


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the process's main work (runtime.service)."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, for sockets that are open, but that a TLS handshake has less time than asyncio's minute: until
        it is done nothing counts the connection."""
        config, loop = self.config, asyncio.get_running_loop()

        def connection() -> HttpConnection:
            return HttpConnection(config, self.server_state, self.lifespan.state)

        limits: dict[str, Any] = {} if config.ssl is None else {"ssl_handshake_timeout": _HANDSHAKE}
        self.servers = [
            await loop.create_server(connection, sock=one, ssl=config.ssl, backlog=config.backlog, **limits)
            for one in sockets or ()
        ]
        self.started = True


@asynccontextmanager
async def serving(
    app: Any,
    host: str,
    port: int,
    *,
    named: str = "PROJECTOR_METRICS_PORT",
    crowd: int = _CROWD,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """Serve an ASGI app while the block runs; yields the port (0: a free one). Raises Refused if it is taken, `named`.

    `crowd`: connections at once, beyond which each request is answered with 503 (runtime.http_connection).
    """
    listener = _listen(host, port, named)
    _room_for(crowd)
    config = uvicorn.Config(
        app,
        http=HttpConnection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=crowd,
        timeout_graceful_shutdown=_GOODBYE,
        ssl_context_factory=None if tls is None else lambda _, __: tls,
    )
    server = _Server(config)
    running = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await running
        listener.close()


@asynccontextmanager
async def served(settings: Settings, checks: Checks, registry: CollectorRegistry) -> AsyncIterator[None]:
    """Metrics and health on the process's own port, if it has one."""
    async with served_pages(settings, pages(checks, registry)):
        yield


@asynccontextmanager
async def served_pages(settings: Settings, app: Any) -> AsyncIterator[None]:
    """The same for an app of the process's own."""
    if settings.metrics_port is None:
        yield
        return
    async with serving(app, settings.metrics_host, settings.metrics_port) as port:
        _log.info("metrics_served", host=settings.metrics_host, port=port)
        yield


def _room_for(crowd: int) -> None:
    """Let the process have so many connections open. What an operator has set as the hard limit stays one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = crowd + _OTHER_FILES if hard == resource.RLIM_INFINITY else min(crowd + _OTHER_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _listen(host: str, port: int, named: str) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise Refused(f"{named}: can't listen on {host}:{port} ({error.strerror or error})") from None
