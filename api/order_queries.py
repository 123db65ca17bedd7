"""Reads as HTTP: an order by id with its version and its age, and the other read models by pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

import orjson
from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from api import one_order
from api.described import Answer, operation
from api.parameters import (
    Cursor,
    LastEventId,
    Limit,
    OfCustomer,
    OfStatus,
    Since,
    Until,
)  # fmt: skip
from api.paths import OrderId
from api.problems import Problem
from api.reading import SQL
from api.reads import Reads
from schemas.errors import ProjectorError

_PING = 15.0  # seconds without an event after which a stream says that it lives
_CACHE = "private, no-cache"

_SHOWN = ("Cache-Control", "Age")
_LISTED = ("Cache-Control",)


def router(reads: Reads) -> APIRouter:
    """`GET` of everything."""
    made = APIRouter()

    one_order.add(made, reads)

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
        rows = await reads.rows(SQL["orders"], customer_id, status, after, limit)
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
        rows = await reads.rows(SQL["timeline"], order_id, after, limit)
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
        rows = await reads.rows(SQL["customer"], customer_id)
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
        rows = await reads.rows(SQL["sales"], sku, since, until, day, currency, limit)
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
        rows = await reads.rows(SQL["queue"], since, order_id, limit)
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
