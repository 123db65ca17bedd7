"""What a customer has ordered, per currency."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from consumer.read_models.kinds import Contribution, Type, columns
from schemas.order import OrderState


class CustomerSummary(Contribution):
    """The sums. Name and newest order stand in its view, which reads them from the customer's newest order."""

    name = "customer_summary"
    version = 1
    keys = columns(customer_id=Type.TEXT, currency=Type.TEXT)
    values = columns(
        orders=Type.COUNT,
        open_orders=Type.COUNT,
        delivered_orders=Type.COUNT,
        cancelled_orders=Type.COUNT,
        revenue=Type.MONEY,
    )
    depends_on = ("status", "delivered_at", "cancelled_at", "total", "refunded")

    def contributions(self, order: OrderState) -> Iterator[tuple[tuple[Any, ...], tuple[int, ...]]]:
        delivered = order.delivered_at is not None
        cancelled = order.cancelled_at is not None
        is_open = not delivered and not cancelled and order.status != "refunded"
        revenue = 0 if cancelled else order.total - order.refunded
        yield (order.customer_id, order.currency), (1, is_open, delivered, cancelled, revenue)
