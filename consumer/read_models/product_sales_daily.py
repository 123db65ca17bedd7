"""What was sold of each product, per day of placing and currency."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from consumer.read_models.kinds import Contribution, Type, columns
from schemas.order import OrderState, parse_lines


class ProductSalesDaily(Contribution):
    name = "product_sales_daily"
    version = 1
    keys = columns(sku=Type.TEXT, day=Type.DAY, currency=Type.TEXT)
    values = columns(orders=Type.COUNT, units=Type.QUANTITY, revenue=Type.MONEY)
    depends_on = ("cancelled_at", "lines")

    def contributions(self, order: OrderState) -> Iterator[tuple[tuple[Any, ...], tuple[int, ...]]]:
        if order.cancelled_at is not None:
            return
        assert order.placed_at is not None
        day = order.placed_at.date()
        seen: set[str] = set()
        for line in parse_lines(order.lines):
            first = line.sku not in seen  # an order counts once for a sku, on however many lines
            seen.add(line.sku)
            yield (line.sku, day, order.currency), (int(first), line.quantity, line.amount)
