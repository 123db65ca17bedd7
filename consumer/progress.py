"""Whether a member gets on: since when each of its partitions stands still although records wait. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from consumer.checkpoints import Place


class Stand(NamedTuple):
    """A partition at one moment: the next offset to apply, and the log's end."""

    next_offset: int
    end: int


class Progress:
    """Looks of one member at its partitions. Times are seconds of any clock that never goes back."""

    def __init__(self) -> None:
        self._since: dict[Place, tuple[int, float]] = {}

    def look(self, now: float, stands: Mapping[Place, Stand]) -> None:
        """These are the member's partitions now; others are forgotten."""
        self._since = {
            place: self._still(now, place, stand) for place, stand in stands.items() if stand.end > stand.next_offset
        }

    def excuse(self, now: float) -> None:
        """It is known why nothing moves: begin to count anew."""
        self._since = {place: (offset, now) for place, (offset, _) in self._since.items()}

    def stalled(self, now: float, limit: float) -> dict[Place, float]:
        """Partitions that have stood still for at least `limit` seconds, and for how long."""
        return {place: now - since for place, (_, since) in self._since.items() if now - since >= limit}

    def _still(self, now: float, place: Place, stand: Stand) -> tuple[int, float]:
        offset, since = self._since.get(place, (None, now))
        return (stand.next_offset, since if offset == stand.next_offset else now)
