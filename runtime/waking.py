"""Waking whoever listens: one NOTIFY for all that commits while the last one is on its way.

Not in the transaction that it tells of: PostgreSQL takes one lock for the whole server from a NOTIFY to the end of its
commit, so that commits would queue. Lost notifications have to do no harm: listeners look by themselves too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from runtime.postgres import leased
from runtime.service import cancelled
from schemas.connection import Pool
from schemas.errors import ProjectorError

_ACQUIRE = 1.0  # seconds; a pool that has no connection for so long has other worries


@asynccontextmanager
async def waking(pool: Pool, notify: str) -> AsyncIterator[Callable[[], None]]:
    """Yields what is to be called after a commit; `notify` is the statement that tells of it."""
    due = asyncio.Event()
    telling = asyncio.ensure_future(_tell(pool, notify, due))
    try:
        yield due.set
    finally:
        await cancelled({telling})


async def _tell(pool: Pool, notify: str, due: asyncio.Event) -> None:
    while True:
        await due.wait()
        due.clear()
        with suppress(ProjectorError):
            async with leased(pool, _ACQUIRE) as connection:
                await connection.execute(notify)
