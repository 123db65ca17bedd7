"""The history, kept while the service runs: what the service's own looks at Kafka and PostgreSQL have seen."""

from __future__ import annotations

import asyncio
import time

from api.console.history import History, Stand
from api.freshness import Freshness
from consumer.freshness import Status
from runtime.awaiting import first_of

_LOOK = 0.2  # seconds: whether there is another look to be noted; a rate is as exact as its moments are
_SILENCE = 1.0  # seconds between two notes that nobody knows anything


async def keep(history: History, freshness: Freshness, stop: asyncio.Event) -> None:
    """Note every look, until told to stop. The service looks once a second, so there is nothing to ask here."""
    noted: Status | None = None
    noted_at = time.monotonic()
    while not stop.is_set():
        status = freshness.status
        if status is not None and status is not noted:
            noted, noted_at = status, time.monotonic()
            history.add(time.time(), stands(status))
        elif status is None and time.monotonic() - noted_at >= _SILENCE:
            noted_at = time.monotonic()
            history.unknown(time.time())
        await first_of(stop, seconds=_LOOK)


def stands(status: Status) -> list[Stand]:
    """A look, as the history keeps it."""
    return [Stand((one.topic, one.partition), one.lag, one.staleness, one.next_offset) for one in status.partitions]
