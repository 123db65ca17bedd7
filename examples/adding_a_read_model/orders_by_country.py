"""Where orders go: how many, and what they are worth, per country and currency."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from consumer.read_models.kinds import Contribution, Type, columns
from schemas.order import OrderState

NOWHERE = "??"


class OrdersByCountry(Contribution):
    name = "orders_by_country"
    version = 1
    keys = columns(country=Type.TEXT, currency=Type.TEXT)
    values = columns(orders=Type.COUNT, revenue=Type.MONEY)
    depends_on = ("cancelled_at", "shipping_address", "total", "refunded")

    def contributions(self, order: OrderState) -> Iterator[tuple[tuple[Any, ...], tuple[int, ...]]]:
        if order.cancelled_at is None:
            yield (_country(order.shipping_address), order.currency), (1, order.total - order.refunded)


def _country(address: str | None) -> str:
    """Two letters. What else producers write would be a key of any length, and an index entry has a limit."""
    country = json.loads(address).get("country", "") if address else ""
    return country.upper() if len(country) == 2 and country.isascii() and country.isalpha() else NOWHERE
