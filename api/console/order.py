"""One order, with its events and how old what is shown of it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from api.console.looking import Looks, Part, Surroundings
from api.problems import Problem
from api.reading import SQL
from api.reads import Reads
from schemas.errors import ProjectorError, Unstorable

_MOST = 500  # events shown

_MOMENTS = ("placed_at", "confirmed_at", "paid_at", "shipped_at", "delivered_at", "cancelled_at", "projected_at")

_NOTHING = Surroundings(None, None, Part([]))


@dataclass(frozen=True)
class Step:
    """An applied event, and how long after the one before it happened."""

    version: int
    event_type: str
    event_id: str
    event_source: str
    occurred_at: datetime
    after: timedelta | None


@dataclass(frozen=True)
class Shown:
    """What is shown of an order; `order` is None where readers see none, `trouble` says why nobody can tell."""

    order: dict[str, Any] | None
    steps: Sequence[Step] = ()
    around: Surroundings = _NOTHING
    trouble: str | None = None

    @property
    def version(self) -> int:
        """At which version readers see it."""
        return self.order["version"] if self.order else 0


async def look(reads: Reads, looks: Looks, order_id: str) -> Shown:
    """Whatever there is of this order."""
    try:
        order = await _order(reads, order_id)
        rows = await reads.rows(SQL["timeline"], order_id, 0, _MOST) if order else []
        return Shown(order, _steps([orjson.loads(row["body"]) for row in rows]), await looks.around(order_id))
    except Unstorable:
        return Shown(None)  # no text that an order's id could be
    except ProjectorError:
        return Shown(None, trouble="PostgreSQL does not answer at the moment.")


async def _order(reads: Reads, order_id: str) -> dict[str, Any] | None:
    try:
        found = await reads.orders.read(order_id)
    except Problem:
        return None
    order: dict[str, Any] = orjson.loads(found.order)
    return {**order, **{name: _moment(order[name]) for name in _MOMENTS}}


def _steps(rows: Sequence[dict[str, Any]]) -> list[Step]:
    moments = [datetime.fromisoformat(row["occurred_at"]) for row in rows]
    before: list[datetime | None] = [None, *moments]
    return [
        Step(row["version"], row["event_type"], row["event_id"], row["event_source"], at, at - then if then else None)
        for row, at, then in zip(rows, moments, before, strict=False)
    ]


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
