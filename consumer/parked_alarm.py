"""Says aloud when events have been parked for longer than they should: a producer has lost the one they wait for.

Every worker looks at the whole database: whichever is left running tells.
"""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from consumer.freshness import parked_age
from consumer.observation import Observation
from schemas.connection import Connection

_log = structlog.get_logger("projector.parked")

_AGAIN = 600.0  # seconds before the same is said again


class ParkedAlarm:
    """`limit` is the age in seconds from which a parked event is told of."""

    def __init__(self, observation: Observation, limit: float) -> None:
        self._observation = observation
        self._limit = limit
        self._said = (0, float("-inf"))  # how many, and when

    async def look(self, connection: Connection, now: float) -> None:
        """Set the metrics; log what is news, and every ten minutes what isn't. `now` is of any steady clock."""
        found = await parked_age(connection, self._limit)
        age = (datetime.now(UTC) - found.oldest_at).total_seconds() if found.oldest_at else 0.0
        self._observation.parked(found.older, age)
        many, at = self._said
        if found.older and (found.older > many or now - at >= _AGAIN):
            _log.warning("parked_too_long", events=found.older, limit=self._limit, oldest_at=found.oldest_at)
            self._said = (found.older, now)
        elif not found.older:
            self._said = (0, float("-inf"))
