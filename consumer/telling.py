"""Telling readers that something was applied: one notification for all batches that commit while one is on its way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from runtime.sql import Queries
from runtime.waking import waking
from schemas.connection import Pool

_SQL = Queries("consumer", "queries.sql")

CHANNEL = "read_model.orders"


def telling(pool: Pool) -> AbstractAsyncContextManager[Callable[[], None]]:
    """Yields what is to be called after a commit that has changed a read model."""
    return waking(pool, _SQL["orders_told"])
