"""A shop's order events made from a seed: the stream of the demo, the benchmarks and the tests.

Pure: no clock and no I/O; the same plan gives the same bytes. Deliveries come lazily and in produce
order; memory is bounded by the plan's window, however many orders there are. Every event is
delivered at least once, late or repeated as the plan asks; a broken record is needed by no order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from heapq import heappop, heappush
from itertools import accumulate
from random import Random
from typing import Any, Literal

import orjson

Encoding = Literal["binary", "structured", "outbox"]
Data = dict[str, Any]
Step = tuple[str, Data]
Money = Callable[[int], str | Decimal]  # from cents


@dataclass(frozen=True)
class SimulationPlan:
    """What to make. Shares are of the events; each is drawn per event, but poison is exact."""

    orders: int = 20_000
    seed: int = 42
    duplicates: float = 0.10
    shuffle: float = 0.05
    poison: float = 100  # how many broken records, or, below 1, what share of the events
    tombstones: int = 1
    encodings: tuple[Encoding, ...] = (*["binary"] * 7, *["structured"] * 2, "outbox")  # type: ignore[assignment]
    window: int = 400  # orders under way at once
    start: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    days: int = 30
    topic: str = "orders.events"  # the source of an outbox record that names none

    def __post_init__(self) -> None:
        for name in ("duplicates", "shuffle"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, not {getattr(self, name)}")
        if min(self.orders, self.poison, self.tombstones) < 0 or not (self.encodings and self.window > 0):
            raise ValueError(f"negative or empty: {self}")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a delivery says: an event (its CloudEvents attributes), a tombstone, or nothing readable,
    in which case `flaw` says why."""

    kind: Literal["event", "broken", "tombstone"]
    event: Data | None = None
    order_id: str | None = None
    flaw: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One record to produce, and what was meant by it."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    meant: Meaning


def simulate(plan: SimulationPlan) -> Iterator[Delivery]:
    """The plan's stream in produce order; call again for the same stream from its start."""
    raise NotImplementedError
