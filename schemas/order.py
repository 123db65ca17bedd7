"""An order's state, and the fold of its events: a pure function of (state, event).

`evolve` is the whole life cycle on one page. It refuses what the order's history can't take and knows nothing
of duplicates, holes or storage: the verdicts (consumer.verdicts) decide what reaches it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from pydantic_core import from_json

from schemas import money
from schemas.errors import InvalidHistory
from schemas.events import PLACED, Event
from schemas.json_text import printed

FOLD = 1  # raised when `evolve` makes something else of the same events: then all states have to be rebuilt


class Line(NamedTuple):
    """One line of an order. `unit_price` is the producer's decimal text."""

    sku: str
    title: str | None
    quantity: int
    unit_price: str

    @property
    def amount(self) -> int:
        """Quantity × unit price, in units of money."""
        return self.quantity * money.units(self.unit_price)


@dataclass(frozen=True)
class OrderState:
    """The fold of an order's versions 1..version. Money is in units (schemas.money); times are UTC.

    An order that isn't placed yet has a version (unknown types may come first) and nothing else. An erased one
    has its id alone. `lines` is the JSON text that the read model shows: most events don't touch it, so it is
    neither parsed nor printed for them.
    """

    order_id: str
    version: int = 0
    erased: bool = False
    status: str | None = None
    customer_id: str | None = None
    customer_name: str | None = None
    customer_email: str | None = None
    currency: str | None = None
    lines: str = "[]"
    unit_count: int = 0
    total: int = 0
    paid: int = 0
    refunded: int = 0
    shipping_address: str | None = None
    carrier: str | None = None
    tracking_number: str | None = None
    cancel_reason: str | None = None
    placed_at: datetime | None = None
    confirmed_at: datetime | None = None
    paid_at: datetime | None = None
    shipped_at: datetime | None = None
    delivered_at: datetime | None = None
    cancelled_at: datetime | None = None
    last_event_id: str | None = None
    last_event_at: datetime | None = None

    def copy(self) -> OrderState:
        """What dataclasses.replace makes without changes, in a quarter of its time."""
        new = object.__new__(OrderState)
        new.__dict__.update(self.__dict__)
        return new


Changes = dict[str, Any]


def evolve(state: OrderState, event: Event) -> OrderState:
    """The state after one event, whose version has to be the state's next one.

    Raises InvalidHistory for anything but `order.placed` on an order not yet placed, and for `order.placed` on
    one that is. A type we don't know moves the version on and changes nothing else.
    """
    after = state.copy()
    evolve_in_place(after, event)
    return after


def evolve_in_place(state: OrderState, event: Event) -> None:
    """The same to a state that nobody else has: most of what a fold costs is the copy. A refused event changes
    nothing."""
    fields = state.__dict__
    change = _CHANGES.get(event.type)
    if change is not None:
        if (state.placed_at is None) is not (event.type == PLACED):
            was = "already placed" if state.placed_at else "not placed yet"
            raise InvalidHistory(f"{event.type} at version {event.version} on an order that is {was}")
        fields.update(change(state, event))
    fields["version"] = event.version
    fields["last_event_id"] = event.id
    fields["last_event_at"] = event.time


def parse_lines(text: str) -> list[Line]:
    """The lines in a state's JSON text. pydantic's reader, as orjson would make a float of a very large quantity."""
    return [Line(line["sku"], line["title"], line["quantity"], line["unit_price"]) for line in from_json(text)]


def _placed(_: OrderState, event: Event) -> Changes:
    data = event.data
    customer = data["customer"]
    lines: list[Line] = []
    for line in data["lines"]:
        _put(lines, line)
    return {
        "status": "placed",
        "customer_id": customer["id"],
        "customer_name": customer["name"],
        "customer_email": customer.get("email"),
        "currency": data["currency"],
        "shipping_address": _address(data.get("shipping_address")),
        "placed_at": event.time,
        **_with_lines(lines),
    }


def _line_added(state: OrderState, event: Event) -> Changes:
    lines = parse_lines(state.lines)
    _merge(lines, event.data["line"])
    return _with_lines(lines)


def _line_removed(state: OrderState, event: Event) -> Changes:
    sku = event.data["sku"]
    return _with_lines([line for line in parse_lines(state.lines) if line.sku != sku])


def _address_changed(_: OrderState, event: Event) -> Changes:
    return {"shipping_address": _address(event.data["shipping_address"])}


def _confirmed(_: OrderState, event: Event) -> Changes:
    return {"status": "confirmed", "confirmed_at": event.time}


def _payment_captured(state: OrderState, event: Event) -> Changes:
    amount = money.units(event.data["amount"])
    return {"status": "paid", "paid": state.paid + amount, "paid_at": event.time}


def _payment_failed(_: OrderState, __: Event) -> Changes:
    return {"status": "payment_failed"}


def _shipped(_: OrderState, event: Event) -> Changes:
    return {
        "status": "shipped",
        "carrier": event.data["carrier"],
        "tracking_number": event.data["tracking_number"],
        "shipped_at": event.time,
    }


def _delivery_failed(_: OrderState, __: Event) -> Changes:
    return {"status": "delivery_failed"}


def _delivered(_: OrderState, event: Event) -> Changes:
    return {"status": "delivered", "delivered_at": event.time}


def _cancelled(_: OrderState, event: Event) -> Changes:
    return {"status": "cancelled", "cancel_reason": event.data["reason"], "cancelled_at": event.time}


def _refunded(state: OrderState, event: Event) -> Changes:
    refunded = state.refunded + money.units(event.data["amount"])
    return {"refunded": refunded, "status": "refunded" if refunded >= state.paid else state.status}


_CHANGES: dict[str, Callable[[OrderState, Event], Changes]] = {
    PLACED: _placed,
    "order.line_added": _line_added,
    "order.line_removed": _line_removed,
    "order.address_changed": _address_changed,
    "order.confirmed": _confirmed,
    "order.payment_captured": _payment_captured,
    "order.payment_failed": _payment_failed,
    "order.shipped": _shipped,
    "order.delivery_failed": _delivery_failed,
    "order.delivered": _delivered,
    "order.cancelled": _cancelled,
    "order.refunded": _refunded,
}


def _put(lines: list[Line], line: dict[str, Any]) -> None:
    lines.append(Line(line["sku"], line.get("title"), line["quantity"], line["unit_price"]))


def _merge(lines: list[Line], line: dict[str, Any]) -> None:
    """The same sku at the same unit price (12.5 is 12.50) adds to that line's quantity, else a new line at the end."""
    price = money.units(line["unit_price"])
    for at, there in enumerate(lines):
        if there.sku == line["sku"] and money.units(there.unit_price) == price:
            lines[at] = there._replace(quantity=there.quantity + line["quantity"])
            return
    _put(lines, line)


def _with_lines(lines: list[Line]) -> Changes:
    return {
        "lines": printed(
            [
                {"sku": line.sku, "title": line.title, "quantity": line.quantity, "unit_price": line.unit_price}
                for line in lines
            ]
        ),
        "unit_count": sum(line.quantity for line in lines),
        "total": sum(line.amount for line in lines),
    }


def _address(address: dict[str, str] | None) -> str | None:
    return None if address is None else printed(address)
