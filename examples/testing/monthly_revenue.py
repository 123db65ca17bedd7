"""What the orders of a month are worth, by the month in which they were placed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from consumer.read_models.kinds import Contribution, Type, columns
from schemas.order import OrderState


class MonthlyRevenue(Contribution):
    name = "monthly_revenue"
    version = 1
    keys = columns(month=Type.DAY, currency=Type.TEXT)
    values = columns(orders=Type.COUNT, revenue=Type.MONEY)
    depends_on = ("cancelled_at", "total", "refunded")

    def contributions(self, order: OrderState) -> Iterator[tuple[tuple[Any, ...], tuple[int, ...]]]:
        assert order.placed_at is not None
        if order.cancelled_at is None:
            month = order.placed_at.date().replace(day=1)
            yield (month, order.currency), (1, order.total - order.refunded)
