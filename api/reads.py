"""What all routes that read share: tokens and cursors read back, rows fetched, pages put together."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson
from fastapi import Response

from api.freshness import Freshness
from api.loading import ACQUIRE, Found
from api.problems import Problem
from api.reading import Orders
from api.tokens import InvalidToken, Signer, WriteToken
from api.waiting import Waiting
from runtime.postgres import leased
from schemas.connection import Pool

CACHE = "private, no-cache"


class Reads:
    """What the routes share."""

    def __init__(self, pool: Pool, signer: Signer, waiting: Waiting, freshness: Freshness, orders: Orders) -> None:
        self.pool = pool
        self.signer = signer
        self.waiting = waiting
        self.freshness = freshness
        self.orders = orders

    def token(self, text: str | None, order_id: str) -> WriteToken | None:
        """The write that a reader wants to see; a token of another order says nothing about this one."""
        if text is None:
            return None
        try:
            found = self.signer.read_write_token(text)
        except InvalidToken:
            raise Problem(400, "invalid-token", "the write token is not one of ours") from None
        return found if found.order_id == order_id else None

    def after(self, of: str, cursor: str | None, otherwise: list[Any]) -> list[Any]:
        """The key after which a page begins."""
        if cursor is None:
            return otherwise
        try:
            return self.signer.read_cursor(of, cursor)
        except InvalidToken:
            raise Problem(400, "invalid-cursor", "the cursor is not one of this list's") from None

    async def rows(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        async with leased(self.pool, ACQUIRE) as connection:
            return await connection.fetch(query, *arguments)

    def staleness_ms(self, found: Found, age: float) -> int | None:
        """How old what the reader sees may be: of a copy, by its age more than the read models, since what would have
        replaced it may be lost. None if nobody knows."""
        if found.source == "write_model":
            return 0
        behind = self.freshness.staleness_ms
        return None if behind is None else behind + max(round(age * 1000), 0)

    def page(self, name: str, rows: Sequence[asyncpg.Record], limit: int, next_cursor: str | None) -> Response:
        """A page's JSON: rows as they came, where the next page begins, and how old it may be."""
        told = orjson.dumps(
            {
                "next_cursor": next_cursor if len(rows) == limit else None,
                "as_of": datetime.now(UTC),
                "staleness_ms": self.freshness.staleness_ms,
                "source": "read_model",
            }
        )
        listed = b",".join(row["body"].encode() for row in rows)
        body = b'{"' + name.encode() + b'":[' + listed + b"]," + told[1:]
        return Response(body, media_type="application/json", headers={"Cache-Control": CACHE})
