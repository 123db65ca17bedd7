"""Commands for tests, on an order of 20.00, and the events that they become."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from producer import outbox
from producer.order import Command
from producer.outbox import OutboxRow
from schemas.events import Event

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def place(customer: str = "c-1", price: str = "10", quantity: int = 2, sku: str = "sku-1") -> dict[str, Any]:
    """The data of an order.placed with one line."""
    return {
        "customer": {"id": customer, "name": f"Name of {customer}", "email": None},
        "currency": "EUR",
        "lines": [{"sku": sku, "title": "A thing", "quantity": quantity, "unit_price": price}],
        "shipping_address": {"city": "Zürich"},
    }


LINE: dict[str, Any] = {"line": {"sku": "b", "quantity": 1, "unit_price": "0.5"}}
DATA: dict[str, Any] = {
    "place": place(),
    "add_line": LINE,
    "remove_line": {"sku": "b"},
    "change_address": {"shipping_address": {"city": "Bern"}},
    "confirm": None,
    "pay": {"payment_id": "p-1", "amount": "20"},
    "fail_payment": {"payment_id": "p-1", "reason": "no money"},
    "ship": {"carrier": "post", "tracking_number": "t-1"},
    "fail_delivery": {"reason": "nobody there"},
    "deliver": None,
    "cancel": {"reason": "changed my mind"},
    "refund": {"amount": "20", "reason": "cancelled"},
}


def command(kind: Any, order_id: str, data: Any = ...) -> Command:
    """A command, with data that fit an order of 20.00."""
    return Command(kind, order_id, DATA[kind] if data is ... else data)


def event(order_id: str, version: int, type_: str, data: Mapping[str, Any] | None) -> Event:
    """The event that a command has made, by way of the very row that goes out."""
    row = OutboxRow(
        0, "7b1c9c6e-0000-7000-8000-000000000001", order_id, type_, version, "/o", "1.0",
        outbox.rfc3339(NOW), None, outbox.payload_of(data),
    )  # fmt: skip
    return outbox.read(row, "orders.events")
