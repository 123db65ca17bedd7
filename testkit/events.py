"""Events as their producer means them: dicts of CloudEvents attributes with `data`. Builders with sensible defaults.

    order = Order("o-1")
    events = [order.placed(line("tea", 2, "6.25")), order.confirmed(), order.payment_captured(), order.shipped()]

An order numbers its own events, a minute apart, so that a test says only what it is about. Each method makes an event
of the type of its name; `event` makes any other. What they make are plain dicts: `{**order.confirmed(), "id": "e-9"}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from consumer.reference import Tombstone
from producer.simulation import SimulationPlan, simulate

Event = dict[str, Any]
Happening = (
    Event | Tombstone
)  # what a producer may say: that something happened to an order, or that it is to be erased
Line = dict[str, Any]

BEGINNING = datetime(2026, 1, 1, 12, tzinfo=UTC)


def line(sku: str = "tea", quantity: int = 1, unit_price: str = "10.00", title: str | None = None) -> Line:
    """One line of an order."""
    found: Line = {"sku": sku, "quantity": quantity, "unit_price": unit_price}
    return found if title is None else {**found, "title": title}


class Order:
    """Makes one order's events, each in its turn."""

    def __init__(self, order_id: str = "o-1", *, source: str = "/shop/orders", began: datetime = BEGINNING) -> None:
        self.order_id = order_id
        self._source = source
        self._began = began
        self._version = 0
        self._lines: list[Line] = []

    def event(self, type_: str, data: Mapping[str, Any] | None = None) -> Event:
        """The order's next event, of any type."""
        self._version += 1
        time = self._began + timedelta(minutes=self._version)
        return {
            "id": f"{self.order_id}-{self._version}",
            "source": self._source,
            "type": type_,
            "subject": self.order_id,
            "time": time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "sequence": self._version,
            "data": None if data is None else dict(data),
        }

    def placed(
        self,
        *lines: Line,
        customer: str = "c-1",
        currency: str = "EUR",
        address: Mapping[str, str] | None = None,
    ) -> Event:
        """With one line if none is given."""
        self._lines = list(lines) or [line()]
        data = {"customer": {"id": customer, "name": f"Customer {customer}"}, "currency": currency}
        where = {} if address is None else {"shipping_address": dict(address)}
        return self.event("order.placed", {**data, "lines": self._lines, **where})

    def line_added(self, added: Line) -> Event:
        self._lines = [*self._lines, added]
        return self.event("order.line_added", {"line": added})

    def line_removed(self, sku: str = "tea") -> Event:
        self._lines = [one for one in self._lines if one["sku"] != sku]
        return self.event("order.line_removed", {"sku": sku})

    def address_changed(self, **address: str) -> Event:
        return self.event("order.address_changed", {"shipping_address": address})

    def confirmed(self) -> Event:
        return self.event("order.confirmed")

    def payment_captured(self, amount: str | None = None) -> Event:
        """All that the lines are worth, unless another amount is given."""
        paid = self._worth() if amount is None else amount
        return self.event("order.payment_captured", {"payment_id": f"pay-{self.order_id}", "amount": paid})

    def payment_failed(self, reason: str = "card declined") -> Event:
        return self.event("order.payment_failed", {"payment_id": f"pay-{self.order_id}", "reason": reason})

    def shipped(self, carrier: str = "Post", tracking_number: str = "T-1") -> Event:
        return self.event("order.shipped", {"carrier": carrier, "tracking_number": tracking_number})

    def delivery_failed(self, reason: str = "nobody at home") -> Event:
        return self.event("order.delivery_failed", {"reason": reason})

    def delivered(self) -> Event:
        return self.event("order.delivered")

    def cancelled(self, reason: str = "changed my mind") -> Event:
        return self.event("order.cancelled", {"reason": reason})

    def refunded(self, amount: str | None = None, reason: str = "returned") -> Event:
        """All that the lines are worth, unless another amount is given."""
        back = self._worth() if amount is None else amount
        return self.event("order.refunded", {"amount": back, "reason": reason})

    def erased(self) -> Tombstone:
        """No event: the record that makes everything about the order vanish."""
        return Tombstone(self.order_id)

    def _worth(self) -> str:
        return str(sum((one["quantity"] * Decimal(one["unit_price"]) for one in self._lines), Decimal(0)))


def meant(event: Event) -> Event:
    """The event as the reference model takes it: numbers exact, the time as text."""
    time = event["time"].isoformat() if isinstance(event["time"], datetime) else event["time"]
    return {**event, "sequence": int(event["sequence"]), "time": time, "data": _exact(event.get("data"))}


def _exact(value: Any) -> Any:
    """A float stands for the number that JSON shows, not for the binary one behind it."""
    match value:
        case float():
            return Decimal(repr(value))
        case dict():
            return {name: _exact(one) for name, one in value.items()}
        case list() | tuple():
            return [_exact(one) for one in value]
    return value


def some_orders(count: int, seed: int) -> list[Event]:
    """What happens to `count` orders of a made-up shop: every type of event, side by side, each order's in turn."""
    plan = SimulationPlan(orders=count, seed=seed, duplicates=0, shuffle=0, poison=0, tombstones=0)
    return [delivery.meant.event for delivery in simulate(plan) if delivery.meant.event is not None]
