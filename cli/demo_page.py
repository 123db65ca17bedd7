"""The demo's page: the HTTP service with its console, served while the demo runs."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from api.app import Pools, running, service
from cli.write_side import commanding
from runtime import postgres
from runtime.http import serving
from runtime.settings import Settings
from schemas.errors import Refused

_HOST = "127.0.0.1"
_PORT = 8000  # as `projector api`; if somebody else has it, whichever is free
_POOL = 6  # connections to PostgreSQL: a person looks, and the service itself


@asynccontextmanager
async def page(settings: Settings) -> AsyncIterator[str]:
    """Serve it on this machine alone, for anybody on it; yields its address."""
    async with (
        postgres.pool(settings, "projector-demo-api", _POOL) as pool,
        commanding(settings, pool) as handler,
        AsyncExitStack() as stack,
    ):
        made = service(settings, Pools(pool, pool), handler, secrets.token_bytes(32), dev=True)
        await stack.enter_async_context(running(made))
        try:
            port = await stack.enter_async_context(serving(made.app, _HOST, _PORT))
        except Refused:
            port = await stack.enter_async_context(serving(made.app, _HOST, 0))
        yield f"http://{_HOST}:{port}/"
