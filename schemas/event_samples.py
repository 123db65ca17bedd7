"""One good event of each type, with what the type says: what the published contract shows to people."""

from __future__ import annotations

from typing import Any, NamedTuple

from schemas.events import PLACED

_ADDRESS = {"name": "Ada Lovelace", "street": "12 St James's Square", "city": "London", "country": "GB"}
_LINE = {"sku": "TEA-250", "title": "Assam, 250 g", "quantity": 2, "unit_price": "6.25"}


class Sample(NamedTuple):
    summary: str
    version: int
    data: dict[str, Any] | None


SAMPLES = {
    PLACED: Sample(
        "An order was placed: its first event.",
        1,
        {
            "customer": {"id": "c-17", "name": "Ada Lovelace", "email": "ada@shop.example"},
            "currency": "GBP",
            "lines": [_LINE],
            "shipping_address": _ADDRESS,
        },
    ),
    "order.line_added": Sample(
        "A line was added. The same sku at the same unit price adds to that line's quantity, else it is a new line.",
        2,
        {"line": {"sku": "CUP-1", "quantity": 1, "unit_price": "12.50"}},
    ),
    "order.line_removed": Sample("Every line of a sku was removed.", 3, {"sku": "CUP-1"}),
    "order.address_changed": Sample(
        "The order goes to another address.", 4, {"shipping_address": {**_ADDRESS, "street": "5 Ockham Park"}}
    ),
    "order.confirmed": Sample("The shop took the order on.", 5, None),
    "order.payment_captured": Sample(
        "A payment came in; amounts add up.", 6, {"payment_id": "pay-9", "amount": "12.50"}
    ),
    "order.payment_failed": Sample("A payment failed.", 6, {"payment_id": "pay-8", "reason": "card expired"}),
    "order.shipped": Sample("The order left.", 7, {"carrier": "Royal Mail", "tracking_number": "RM123456789GB"}),
    "order.delivery_failed": Sample("A delivery was tried in vain.", 8, {"reason": "nobody at home"}),
    "order.delivered": Sample("The order arrived.", 8, None),
    "order.cancelled": Sample("The order was called off.", 6, {"reason": "changed their mind"}),
    "order.refunded": Sample("Money went back; amounts add up.", 9, {"amount": "6.25", "reason": "one tin dented"}),
}


def sample_attributes(event_type: str) -> dict[str, Any]:
    """The CloudEvents attributes of the type's sample."""
    version = SAMPLES[event_type].version
    return {
        "specversion": "1.0",
        "id": f"01970c2e-7b00-7000-8000-00000000000{version}",
        "source": "/shop/orders",
        "type": event_type,
        "subject": "o-1001",
        "time": f"2026-11-23T09:3{version}:00Z",
        "sequence": version,
    }


def sample_event(event_type: str) -> dict[str, Any]:
    """The sample as a structured event."""
    data = SAMPLES[event_type].data
    return sample_attributes(event_type) if data is None else {**sample_attributes(event_type), "data": data}
