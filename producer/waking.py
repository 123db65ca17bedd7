"""Waking whoever reads the outbox, after a command's commit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from producer.outbox import SQL
from runtime import waking as runtime_waking
from schemas.connection import Pool


def waking(pool: Pool) -> AbstractAsyncContextManager[Callable[[], None]]:
    """Yields what is to be called after a commit."""
    return runtime_waking.waking(pool, SQL["outbox_told"])
