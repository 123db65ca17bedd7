"""`projector api`: the HTTP service."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated

import structlog
import typer

from api.app import Pools, running, service
from cli.write_side import commanding
from consumer.cache.store import order_cache
from consumer.install import check_machinery
from runtime import logs, postgres
from runtime import service as process
from runtime.hosts import is_loopback
from runtime.http import served_pages, serving
from runtime.pulse import pulse
from runtime.settings import Settings, load
from schemas.errors import Refused

_log = structlog.get_logger("projector.api")

_POOL = 16  # connections to PostgreSQL, for commands
_READS = 8
_CROWD = 2_000  # connections of clients; how many requests are let in, api.security decides


def api(
    host: Annotated[str, typer.Option(help="The address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 8000,
    dev: Annotated[bool, typer.Option("--dev", help="Without authentication: for development alone.")] = False,
    database_url: Annotated[str | None, typer.Option(help="Instead of DATABASE_URL.")] = None,
) -> None:
    """Take commands and answer reads over HTTP, until SIGTERM."""
    settings = load(database_url=database_url)
    if not dev and not ((settings.api_tokens or settings.api_tls_client_ca) and settings.api_secret):
        raise Refused("set PROJECTOR_API_TOKENS and PROJECTOR_API_SECRET, or say --dev")
    if not (host and is_loopback(host)) and settings.api_tls_cert is None and not settings.allow_plaintext:
        raise Refused(
            f"--host: unencrypted on {host!r}, which others can reach. Set PROJECTOR_API_TLS_CERT and "
            "PROJECTOR_API_TLS_KEY, or PROJECTOR_ALLOW_PLAINTEXT=true if the network is safe"
        )
    logs.configure(settings.log_level, settings.log_format)
    raise typer.Exit(process.run(lambda stop: _api(stop, settings, host, port, dev=dev)))


async def _api(stop: asyncio.Event, settings: Settings, host: str, port: int, *, dev: bool) -> int:
    secret = settings.api_secret.get_secret_value().encode() if settings.api_secret else secrets.token_bytes(32)
    tls = settings.api_tls()
    async with (
        pulse(settings.stuck_timeout),
        postgres.pool(settings, "projector-api", _POOL) as pool,
        postgres.reading_pool(settings, "projector-api-reads", _READS) as reads,
        order_cache(settings) as cache,
        commanding(settings, pool, cache) as handler,
    ):
        with postgres.translated():
            async with pool.acquire() as connection:
                await check_machinery(connection)
        made = service(settings, Pools(pool, reads), handler, secret, dev=dev, cache=cache)
        async with (
            running(made),
            served_pages(settings, made.pages),
            serving(made.app, host, port, named="--port", crowd=_CROWD, tls=tls) as bound,
        ):
            _log.info("api_served", host=host, port=bound, authenticated=not dev, encrypted=tls is not None)
            await stop.wait()
    _log.info("api_stopped", host=host, port=bound)
    return 0
