"""One good body of each answer and of each problem, for the OpenAPI document: what it shows to people."""

from __future__ import annotations

from typing import Any

from schemas.event_samples import SAMPLES
from schemas.events import PLACED

ORDER_ID = "01970c2e-7b00-7000-8000-000000000001"
TOKEN = "q0dXv3bq0cYy3o3kqJtBCFsid3JpdGUiLCJvLTEwMDEiLDFd"  # noqa: S105 - as one looks
_AT = "2026-11-23T09:31:00.000000+00:00"
_SEEN = "2026-11-23T09:31:00.250000+00:00"
_PLACED: Any = SAMPLES[PLACED].data
_AGE = {"as_of": _SEEN, "staleness_ms": 120, "source": "read_model"}
_PAGE = {"next_cursor": None, **_AGE}

ORDER: dict[str, Any] = {
    "order_id": ORDER_ID,
    "version": 1,
    "status": "placed",
    "customer_id": _PLACED["customer"]["id"],
    "customer_name": _PLACED["customer"]["name"],
    "customer_email": _PLACED["customer"]["email"],
    "currency": _PLACED["currency"],
    "line_count": 1,
    "unit_count": 2,
    "total": "12.5000",
    "paid": "0.0000",
    "refunded": "0.0000",
    "lines": _PLACED["lines"],
    "shipping_address": _PLACED["shipping_address"],
    **dict.fromkeys(("carrier", "tracking_number", "cancel_reason")),
    "placed_at": _AT,
    **dict.fromkeys(("confirmed_at", "paid_at", "shipped_at", "delivered_at", "cancelled_at")),
    "last_event_id": "01970c2e-7b00-7000-8000-000000000002",
    "last_event_at": _AT,
    "projected_at": _SEEN,
}

BODIES: dict[str, Any] = {
    "OrderAnswer": {"order": ORDER, "version": 1, **_AGE},
    "Accepted": {"order_id": ORDER_ID, "version": 1, "repeated": False},
    "OrdersPage": {"orders": [ORDER], **_PAGE},
    "TimelinePage": {
        "events": [
            {
                "order_id": ORDER_ID,
                "version": 1,
                "event_id": ORDER["last_event_id"],
                "event_source": "/orders",
                "event_type": PLACED,
                "occurred_at": _AT,
                "data": _PLACED,
            }
        ],
        **_PAGE,
    },
    "CustomerPage": {
        "summaries": [
            {
                "customer_id": "c-17",
                "currency": "GBP",
                "customer_name": "Ada Lovelace",
                "orders": 3,
                "open_orders": 1,
                "delivered_orders": 1,
                "cancelled_orders": 1,
                "revenue": "25.0000",
                "last_order_at": _AT,
            }
        ],
        **_PAGE,
    },
    "SalesPage": {
        "days": [
            {"sku": "TEA-250", "day": "2026-11-23", "currency": "GBP", "orders": 1, "units": 2, "revenue": "12.5000"}
        ],
        **_PAGE,
    },
    "QueuePage": {
        "orders": [
            {
                "order_id": ORDER_ID,
                "customer_id": "c-17",
                "customer_name": "Ada Lovelace",
                "unit_count": 2,
                "total": "12.5000",
                "currency": "GBP",
                "ready_since": _AT,
            }
        ],
        **_PAGE,
    },
    "FreshnessAnswer": {
        "known": True,
        "lag": 3,
        "staleness_ms": 120,
        "objective_seconds": 5,
        "objective_met": True,
        "parked": 0,
        "parked_oldest_at": None,
        "dead_letters": {"unreadable": 1},
        "partitions": [
            {
                "topic": "orders.events",
                "partition": 0,
                "lag": 3,
                "staleness_ms": 120,
                "oldest_at": _AT,
                "next_offset": 1000,
                "end_offset": 1003,
                "last_event_at": _AT,
                "updated_at": _SEEN,
            }
        ],
    },
    "Live": {"live": True},
    "Ready": {"ready": True},
}

STREAM = 'id: 1\nevent: order\ndata: {"order_id": "…", "version": 1, "status": "placed"}\n\n: nothing new\n\n'
METRICS = 'projector_api_requests_total{route="/orders/{order_id}",status="2xx"} 1.0\n'

# Status → the kinds of problem that it may be, the first one with its detail as the example.
PROBLEMS: dict[int, tuple[tuple[str, str], ...]] = {
    400: (
        ("invalid-token", "the write token is not one of ours"),
        ("invalid-cursor", "the cursor is not one of this list's"),
        ("invalid", "a value that no text in the database can hold, or a path that is none"),
        ("bad-request", "this is not HTTP, or its head is too large"),
    ),
    401: (("unauthorized", "a bearer token is needed"),),
    404: (("not-found", "there is no such order"),),
    408: (("too-slow", "the body took too long to come"),),
    409: (
        ("refused", "the order is not confirmed"),
        ("version-conflict", "the order has another version"),
        ("key-in-progress", "a request with this key is under way"),
    ),
    412: (("precondition-failed", "If-Match does not name the order as it stands"),),
    413: (("too-large", "more than 1114112 bytes"),),
    414: (("uri-too-long", "more than 8192 bytes of path and query"),),
    422: (
        ("invalid", "data.amount: Field required"),
        ("key-reused", "the idempotency key was used for another request"),
    ),
    431: (("bad-request", "more than 32768 bytes of headers"),),
    500: (("internal", "something went wrong here"),),
    503: (
        ("not-yet", "the order is not at version 2 here yet"),
        ("unavailable", "a dependency is away for now"),
        ("overloaded", "too many requests at once"),
        ("too-many-wait", "too many requests wait for a version"),
    ),
}
