"""How old what readers see may be, looked at all the time, so that an answer can say it at no cost.

Staleness is 0 when everything in Kafka is applied, else now − the time of the oldest event that isn't; of all
partitions the slowest counts (consumer.freshness). Where Kafka can't be reached nobody knows, and nobody says 0.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer
from prometheus_client import CollectorRegistry, Gauge

from consumer import freshness
from consumer.cache.reading import generation, kept
from consumer.freshness import Status
from runtime.awaiting import first_of
from runtime.kafka import observer
from runtime.postgres import leased
from runtime.settings import Settings
from schemas.connection import Pool
from schemas.errors import ProjectorError

_log = structlog.get_logger("projector.api.freshness")

_EVERY = 1.0  # seconds between two looks
_SELDOM = 8.0  # where looking fails
_OLD = 10.0  # seconds after which what was last seen says nothing any more
_ACQUIRE = 1.0
_LONGEST = 30  # seconds of Retry-After
_WINDOW = 3_600  # seconds that a client is told to keep a write token, at most


class Freshness:
    """The last look, and what is told of it."""

    def __init__(self, settings: Settings, pool: Pool, registry: CollectorRegistry) -> None:
        self._settings = settings
        self._pool = pool
        self._status: Status | None = None
        self._seen_at = -math.inf
        self._known = True
        self._staleness = Gauge("projector_api_staleness_seconds", "Of the slowest partition", registry=registry)
        self._lag = Gauge("projector_api_lag_records", "Records not yet applied, in all", registry=registry)
        self.generation = 0

    def seen(self, generation: int) -> None:
        """Readers see read models of this generation: copies of older ones are worth nothing."""
        self.generation = max(self.generation, generation)

    @property
    def copies_kept(self) -> float:
        """For how many seconds a copy of an order may be kept."""
        status = self.status
        return kept(None if status is None else status.staleness, self._settings.freshness_objective)

    @property
    def status(self) -> Status | None:
        """What was seen last; None if it was too long ago."""
        return self._status if time.monotonic() - self._seen_at < _OLD else None

    @property
    def staleness_ms(self) -> int | None:
        """Of the slowest partition; None if nobody knows."""
        status = self.status
        return None if status is None else round(status.staleness * 1000)

    def retry_after(self) -> int:
        """Seconds after which what is missing should be there: what it is behind by now, and at least one."""
        status = self.status
        return 1 if status is None else min(max(math.ceil(status.staleness), 1), _LONGEST)

    def token_window(self) -> int:
        """Seconds after which readers most likely see a write of now without its token: twice what they are behind by,
        and the objective besides; where nobody knows, the longest."""
        status = self.status
        if status is None:
            return _WINDOW
        return min(math.ceil(2 * status.staleness + self._settings.freshness_objective), _WINDOW)

    def told(self) -> dict[str, Any]:
        """The page `/freshness`. `objective_met` is None if nobody knows."""
        status = self.status
        objective = self._settings.freshness_objective
        if status is None:
            return {"known": False, "objective_seconds": objective, "objective_met": None}
        return {
            "known": True,
            "lag": status.lag,
            "staleness_ms": round(status.staleness * 1000),
            "objective_seconds": objective,
            "objective_met": status.staleness <= objective,
            "parked": status.parked,
            "parked_oldest_at": status.parked_oldest_at,
            "dead_letters": status.dead_letters,
            "partitions": [
                {
                    "topic": one.topic,
                    "partition": one.partition,
                    "lag": one.lag,
                    "staleness_ms": round(one.staleness * 1000),
                    "oldest_at": one.oldest_at,
                    "next_offset": one.next_offset,
                    "end_offset": one.end_offset,
                    "last_event_at": one.last_event_at,
                    "updated_at": one.updated_at,
                }
                for one in status.partitions
            ],
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Look, until told to stop."""
        pause = _EVERY
        while not stop.is_set():
            try:
                async with observer(self._settings) as consumer:
                    while not stop.is_set():
                        await self._look(consumer)
                        pause = _EVERY
                        await first_of(stop, seconds=_EVERY)
            except ProjectorError as error:
                if self._known:  # else the log has it already
                    _log.warning("freshness_unknown", error=str(error))
                self._known = False
                await first_of(stop, seconds=pause)
                pause = min(2 * pause, _SELDOM)  # Kafka's client has a line for the log each time

    async def _look(self, consumer: AIOKafkaConsumer) -> None:
        async with leased(self._pool, _ACQUIRE) as connection:
            self.seen(await generation(connection))
            self._status = await freshness.look(connection, self._settings, consumer)
        self._seen_at = time.monotonic()
        self._staleness.set(self._status.staleness)
        self._lag.set(self._status.lag)
        self._known = True
