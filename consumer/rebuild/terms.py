"""What a rebuild is asked for, how far it is, and what has become of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from consumer.read_models.kinds import Stored
from consumer.rebuild.compare import Comparison
from consumer.rebuild.parts import Job, Part
from consumer.rebuild.plan import Plan, Source
from consumer.rebuild.records import Phase
from schemas.connection import Connection

State = Literal["swapped", "kept", "differs", "cancelled", "stopped", "unchanged", "copied"]


@dataclass(frozen=True)
class Options:
    """What is asked for. `processes` 0: everything in this process; `throttle`: events a second at most."""

    names: Sequence[str] = ()
    changed: bool = False
    processes: int = 1
    swap: bool = True
    accept: bool = False  # swap though something differs that should not
    throttle: float | None = None
    copy: str | None = None  # a schema: make a copy there, as of the source's `until`, and change nothing else


@dataclass
class Progress:
    """How far a rebuild is. `expected` is None where nobody knows yet."""

    phase: Phase
    events: int = 0
    expected: int | None = None
    began: float = field(default_factory=time.monotonic)
    attempts: int = 0  # to swap

    @property
    def rate(self) -> float:
        """Events a second, of this phase."""
        return self.events / max(time.monotonic() - self.began, 1e-6)

    @property
    def left(self) -> float | None:
        """Seconds to the end of this phase, if it goes on like this."""
        if not self.expected or not self.events:
            return None
        return max(self.expected - self.events, 0) / self.rate


Tell = Callable[[Progress], None]


@dataclass(frozen=True)
class Outcome:
    """What has become of a rebuild. `resumed`: it went on with another one's work."""

    state: State
    names: Sequence[str] = ()
    events: int = 0
    seconds: float = 0.0
    resumed: bool = False
    comparison: Comparison = field(default_factory=Comparison)


class From(Protocol):
    """Where the events come from."""

    @property
    def source(self) -> Source:
        """Its name."""

    @property
    def until(self) -> datetime | None:
        """What happened later is left out."""

    async def preflight(self, connection: Connection) -> None:
        """Raise Refused unless the whole history is there, saying what would do."""

    async def bounds(self, connection: Connection) -> list[str]:
        """The orders with which ranges begin, but for the first range."""

    def job(self, plan: Plan, models: Sequence[Stored]) -> Job:
        """What builds a range."""

    async def read(self, connection: Connection, open_parts: Sequence[Part], tell: Callable[[int, int], None]) -> None:
        """Whatever has to be done before ranges can be built; `tell(events, expected)` meanwhile."""

    def close(self) -> None:
        """Whatever it has set aside can go."""
