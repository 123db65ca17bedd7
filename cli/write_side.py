"""The write side put together: a command handler that does what `PROJECTOR_CONSISTENCY` says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from consumer.cache.marks import marking
from consumer.cache.store import OrderCache
from consumer.local import LocalProjection
from consumer.telling import telling
from producer.handler import CommandHandler
from producer.waking import waking
from runtime.failpoints import Failpoints
from runtime.settings import Settings
from schemas.connection import Pool


@asynccontextmanager
async def commanding(settings: Settings, pool: Pool, cache: OrderCache | None = None) -> AsyncIterator[CommandHandler]:
    """A handler on this pool, which wakes whoever reads the outbox after each commit. If readers see its commands at
    once, it also marks what is cached."""
    local = settings.consistency != "eventual"
    failpoints = Failpoints(settings.failpoints)
    async with (
        waking(pool) as wake,
        telling(pool) as tell,
        marking(cache if local else None, pool, failpoints) as marks,
    ):

        def committed() -> None:
            wake()
            if local:
                tell()

        yield CommandHandler(
            pool,
            source=settings.source,
            topic=settings.topics[0],
            project=LocalProjection() if local else None,
            committed=committed,
            changed=marks.note if marks is not None else lambda versions: None,
            failpoints=failpoints,
        )
