"""An order read so that the answer says how old it is, and is never older than the reader asks for.

    a write token   → this write and all before it: from the read model when it has them, else from the write model
    a minimum       → waits so long at most, holding no connection; then 503, with when to try again
    neither         → the read model as it stands

Version and body are of one statement, so the one is the other's.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, Counter

from api.freshness import Freshness
from api.loading import ACQUIRE, Found, OrderLoader
from api.problems import Problem
from api.tokens import WriteToken
from api.waiting import Waiting
from producer import order_json
from runtime.postgres import leased
from runtime.sql import Queries
from schemas import money
from schemas.connection import Pool
from schemas.json_text import printed
from schemas.order import OrderState, parse_lines

SQL = Queries("api", "queries.sql")


class Orders:
    """Reads orders by id."""

    def __init__(
        self,
        loader: OrderLoader,
        writes: Pool,
        waiting: Waiting,
        freshness: Freshness,
        registry: CollectorRegistry,
    ) -> None:
        """`writes`: where the write model is."""
        self._loader = loader
        self._writes = writes
        self._waiting = waiting
        self._freshness = freshness
        self._counts = Counter("projector_api_order_reads", "Orders read, by source", ["source"], registry=registry)

    async def read(
        self, order_id: str, *, token: WriteToken | None = None, minimum: int = 0, wait: float = 0.0
    ) -> Found:
        """Raises Problem: 404, or 503 if the minimum is not there in `wait` seconds."""
        found = await self._read(order_id, token, minimum, wait)
        self._counts.labels(found.source).inc()
        return found

    async def shown(self, order_id: str, at_least: int) -> Found | None:
        """The order as readers see it; from the cache only if that has this version."""
        return await self._loader.get(order_id, at_least)

    async def _read(self, order_id: str, token: WriteToken | None, minimum: int, wait: float) -> Found:
        least = max(minimum, token.version if token else 0)
        found = await self._loader.get(order_id, least)
        if found is not None and found.version >= least:
            return found
        if token is not None and token.version >= minimum:
            written = await self._written(order_id)
            if written is not None and written.version >= token.version:
                return written
        if minimum:
            if await self._waiting.until(order_id, least, wait):
                found = await self._loader.get(order_id, least)
                if found is not None and found.version >= least:
                    return found
            raise Problem(
                503,
                "not-yet",
                f"the order is not at version {least} here yet",
                {"Retry-After": str(self._freshness.retry_after())},
                version=None if found is None else found.version,
            )
        if found is None:
            raise Problem(404, "not-found", "there is no such order")
        raise Problem(503, "not-yet", "the write that the token names can't be seen", {"Retry-After": "1"})

    async def _written(self, order_id: str) -> Found | None:
        async with leased(self._writes, ACQUIRE) as connection:
            row = await connection.fetchrow(SQL["written"], order_id)
        if row is None:
            return None
        state = order_json.load(row["state"])
        return Found(state.version, printed(as_summary(state)).encode(), "write_model", None, datetime.now(UTC))


def as_summary(state: OrderState) -> dict[str, Any]:
    """The columns of `read_model.order_summary`, of an order that is not projected yet."""
    shown = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in vars(state).items()
        if name != "erased"
    }
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
