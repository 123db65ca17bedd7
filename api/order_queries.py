"""Reads as HTTP: an order by id with its version and its age, and the other read models by pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson
from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from api import etags
from api.described import Answer, operation, unchanged
from api.freshness import Freshness
from api.loading import ACQUIRE, Found
from api.parameters import (
    Cursor,
    IfNoneMatch,
    LastEventId,
    Limit,
    Minimum,
    OfCustomer,
    OfStatus,
    Since,
    Token,
    Until,
    Wait,
)  # fmt: skip
from api.paths import OrderId
from api.problems import Problem
from api.reading import SQL, Orders
from api.tokens import InvalidToken, Signer, WriteToken
from api.waiting import Waiting
from runtime.postgres import leased
from schemas.connection import Pool
from schemas.errors import ProjectorError

_PING = 15.0  # seconds without an event after which a stream says that it lives
_CACHE = "private, no-cache"

_SHOWN = ("Cache-Control", "Age")
_LISTED = ("Cache-Control",)


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
            return await connection.fetch(SQL[query], *arguments)

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
        return Response(body, media_type="application/json", headers={"Cache-Control": _CACHE})


def router(reads: Reads) -> APIRouter:
    """`GET` of everything."""
    made = APIRouter()

    @made.get(
        "/orders/{order_id}",
        **operation(
            "order",
            "Read an order",
            "The read model as it stands, or, asked for, not older than a write or a version.",
            "reads",
            Answer("OrderAnswer", "The order, its version, and how old it may be.", ("ETag", "X-Write-Token", *_SHOWN)),
            404,
            responses=unchanged("ETag", "X-Write-Token", *_SHOWN),
        ),
    )
    async def order(
        order_id: OrderId,
        min_version: Minimum = 0,
        wait_ms: Wait = 0,
        x_write_token: Token = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        token = reads.token(x_write_token, order_id)
        found = await reads.orders.read(order_id, token=token, minimum=min_version, wait=wait_ms / 1000)
        age = (datetime.now(UTC) - found.as_of).total_seconds() if found.source == "cache" else 0.0
        headers = {
            "Cache-Control": _CACHE,
            "Age": str(max(int(age), 0)),
            "X-Write-Token": reads.signer.write_token(order_id, found.version),
        }
        if found.tag is not None:
            headers["ETag"] = str(found.tag)
            if if_none_match is not None and etags.unchanged(if_none_match, found.tag):
                return Response(status_code=304, headers=headers)
        body = found.body(reads.staleness_ms(found, age))
        return Response(body, media_type="application/json", headers=headers)

    @made.get(
        "/orders",
        **operation(
            "orders",
            "List orders",
            "By id. Filters may be combined.",
            "reads",
            Answer("OrdersPage", "A page of orders.", _LISTED),
        ),
    )
    async def orders(
        customer_id: OfCustomer = None, status: OfStatus = None, limit: Limit = 50, cursor: Cursor = None
    ) -> Response:
        of = f"orders {orjson.dumps([customer_id, status]).decode()}"
        [after] = reads.after(of, cursor, [None])
        rows = await reads.rows("orders", customer_id, status, after, limit)
        return reads.page("orders", rows, limit, reads.signer.cursor(of, [rows[-1]["key"]]) if rows else None)

    @made.get(
        "/orders/{order_id}/timeline",
        **operation(
            "timeline",
            "List an order's events",
            "By version, each as it was sent.",
            "reads",
            Answer("TimelinePage", "A page of events.", _LISTED),
            404,
        ),
    )
    async def timeline(order_id: OrderId, limit: Limit = 100, cursor: Cursor = None) -> Response:
        of = f"timeline {order_id}"
        [after] = reads.after(of, cursor, [0])
        rows = await reads.rows("timeline", order_id, after, limit)
        if not rows and cursor is None:
            raise Problem(404, "not-found", "there is no such order")
        return reads.page("events", rows, limit, reads.signer.cursor(of, [rows[-1]["key"]]) if rows else None)

    @made.get(
        "/customers/{customer_id}",
        **operation(
            "customer",
            "Read a customer",
            "What was ordered, per currency.",
            "reads",
            Answer("CustomerPage", "A summary per currency.", _LISTED),
            404,
        ),
    )
    async def customer(customer_id: OrderId) -> Response:
        rows = await reads.rows("customer", customer_id)
        if not rows:
            raise Problem(404, "not-found", "there is no such customer")
        return reads.page("summaries", rows, 0, None)

    @made.get(
        "/products/{sku}/sales",
        **operation(
            "sales",
            "List a product's sales",
            "By UTC day of placing and currency, of orders that are not cancelled.",
            "reads",
            Answer("SalesPage", "A page of days.", _LISTED),
        ),
    )
    async def sales(
        sku: OrderId,
        since: Since = None,
        until: Until = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        of = f"sales {orjson.dumps([sku, since, until]).decode()}"
        day, currency = reads.after(of, cursor, [None, None])
        rows = await reads.rows("sales", sku, since, until, day, currency, limit)
        last = reads.signer.cursor(of, [rows[-1]["day"], rows[-1]["currency"]]) if rows else None
        return reads.page("days", rows, limit, last)

    @made.get(
        "/fulfilment-queue",
        **operation(
            "fulfilment_queue",
            "List what is to be shipped",
            "What is confirmed, paid in full, not shipped and not cancelled, what is ready for longest first.",
            "reads",
            Answer("QueuePage", "A page of orders.", _LISTED),
        ),
    )
    async def queue(limit: Limit = 50, cursor: Cursor = None) -> Response:
        since, order_id = reads.after("queue", cursor, [None, None])
        rows = await reads.rows("queue", since, order_id, limit)
        last = reads.signer.cursor("queue", [rows[-1]["ready_since"], rows[-1]["order_id"]]) if rows else None
        return reads.page("orders", rows, limit, last)

    @made.get(
        "/orders/{order_id}/stream",
        response_class=StreamingResponse,
        **operation(
            "stream",
            "Follow an order",
            "Server-sent events: each new version, its number as the id. Ends when the client or the service does.",
            "reads",
            Answer("text/event-stream", "Events, as they come.", _LISTED),
        ),
    )
    async def stream(order_id: OrderId, last_event_id: LastEventId = None) -> StreamingResponse:
        events = _versions(reads, order_id, int(last_event_id or 0))
        return StreamingResponse(
            events,
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return made


async def _versions(reads: Reads, order_id: str, seen: int) -> AsyncIterator[bytes]:
    """Each new state of an order, from the one after `seen` on, as server-sent events. Of several versions that came in
    one batch the last is shown, since readers never saw the others. Where PostgreSQL is away the stream ends: clients
    come again, with `Last-Event-ID`."""
    with suppress(ProjectorError, Problem):
        while True:
            found = await reads.orders.shown(order_id, seen + 1)
            if found is not None and found.version > seen:
                seen = found.version
                yield b"id: %d\nevent: order\ndata: %s\n\n" % (seen, found.order)
            elif not await reads.waiting.until(order_id, seen + 1, _PING):
                yield b": nothing new\n\n"
