"""An order read so that the answer says how old it is, and is never older than the reader asks for.

    a write token   → this write and all before it: from the read model when it has them, else from the write model
    a minimum       → waits so long at most, holding no connection; then 503, with when to try again
    neither         → the read model as it stands

Version and body are of one statement, so the one is the other's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from api.etags import OrderTag
from api.freshness import Freshness
from api.problems import Problem
from api.tokens import WriteToken
from api.waiting import Waiting
from producer import order_json
from runtime.postgres import leased
from runtime.sql import Queries
from schemas import money
from schemas.connection import Pool
from schemas.order import OrderState, parse_lines

SQL = Queries("api", "queries.sql")

Source = Literal["read_model", "cache", "write_model"]

ACQUIRE = 2.0  # seconds to wait for a connection; then the service is too busy


@dataclass(frozen=True)
class Found:
    """An order as it was found. `order` is JSON; `tag` is None for what is not the read models'."""

    version: int
    order: bytes
    source: Source
    tag: OrderTag | None
    as_of: datetime

    def body(self, staleness_ms: int | None) -> bytes:
        """The answer's JSON."""
        told = {
            "version": self.version,
            "as_of": self.as_of,
            "staleness_ms": staleness_ms,
            "source": self.source,
        }
        return b'{"order":' + self.order + b"," + orjson.dumps(told)[1:]


class Orders:
    """Reads orders by id."""

    def __init__(self, pool: Pool, waiting: Waiting, freshness: Freshness) -> None:
        self._pool = pool
        self._waiting = waiting
        self._freshness = freshness

    async def read(
        self, order_id: str, *, token: WriteToken | None = None, minimum: int = 0, wait: float = 0.0
    ) -> Found:
        """Raises Problem: 404, or 503 if the minimum is not there in `wait` seconds."""
        found = await self._shown(order_id)
        if found is not None and found.version >= max(minimum, token.version if token else 0):
            return found
        if token is not None and token.version >= minimum:
            written = await self._written(order_id)
            if written is not None and written.version >= token.version:
                self._freshness.fell_back()
                return written
        if minimum:
            if await self._waiting.until(order_id, minimum, wait):
                found = await self._shown(order_id)
                if found is not None and found.version >= minimum:
                    return found
            raise Problem(
                503,
                "not-yet",
                f"the order is not at version {minimum} here yet",
                {"Retry-After": str(self._freshness.retry_after())},
                version=None if found is None else found.version,
            )
        if found is None:
            raise Problem(404, "not-found", "there is no such order")
        raise Problem(503, "not-yet", "the write that the token names can't be seen", {"Retry-After": "1"})

    async def _shown(self, order_id: str) -> Found | None:
        async with leased(self._pool, ACQUIRE) as connection:
            row = await connection.fetchrow(SQL["order"], order_id)
        if row is None:
            return None
        tag = OrderTag(row["generation"], row["version"])
        return Found(row["version"], row["body"].encode(), "read_model", tag, datetime.now(UTC))

    async def _written(self, order_id: str) -> Found | None:
        async with leased(self._pool, ACQUIRE) as connection:
            row = await connection.fetchrow(SQL["written"], order_id)
        if row is None:
            return None
        state = order_json.load(row["state"])
        return Found(state.version, orjson.dumps(as_summary(state)), "write_model", None, datetime.now(UTC))


def as_summary(state: OrderState) -> dict[str, Any]:
    """The columns of `read_model.order_summary`, of an order that is not projected yet."""
    shown = {name: value for name, value in vars(state).items() if name != "erased"}
    lines = [line._asdict() for line in parse_lines(state.lines)]
    return {
        **shown,
        "lines": lines,
        "line_count": len(lines),
        "shipping_address": None if state.shipping_address is None else orjson.loads(state.shipping_address),
        "total": money.text(state.total),
        "paid": money.text(state.paid),
        "refunded": money.text(state.refunded),
        "projected_at": None,
    }
