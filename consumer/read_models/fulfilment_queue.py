"""What the warehouse has to send next: confirmed, paid in full, not shipped, not cancelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from consumer.read_models.kinds import Document, Type, columns
from schemas.order import OrderState


class FulfilmentQueue(Document):
    name = "fulfilment_queue"
    version = 1
    keys = columns(order_id=Type.TEXT)
    values = columns(
        customer_id=Type.TEXT,
        customer_name=Type.TEXT,
        unit_count=Type.QUANTITY,
        total=Type.MONEY,
        currency=Type.TEXT,
        ready_since=Type.TIMESTAMP,
    )
    depends_on = ("confirmed_at", "paid_at", "paid", "total", "unit_count", "shipped_at", "cancelled_at")

    def row(self, order: OrderState) -> Mapping[str, Any] | None:
        if order.confirmed_at is None or order.shipped_at is not None or order.cancelled_at is not None:
            return None
        if order.paid < order.total:
            return None
        return {
            "customer_id": order.customer_id,
            "customer_name": order.customer_name,
            "unit_count": order.unit_count,
            "total": order.total,
            "currency": order.currency,
            # An order whose total is 0 is paid without a payment.
            "ready_since": max(order.confirmed_at, order.paid_at or order.confirmed_at),
        }
