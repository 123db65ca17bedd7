"""Records for the faults that come in events, each with what its producer meant."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from producer.simulation import Delivery, Meaning
from tests.support.events import Encoding, Rec, Row, record, row


def told(
    type_: str = "placed", version: int = 1, data: Any = ..., *, encoding: Encoding = "binary", **given: Any
) -> Delivery:
    """An event: `told("shipped", 3, order="o-2")`."""
    return telling(row(type_, version, data, **given), encoding)


def telling(meant: Row, encoding: Encoding = "binary", key: bytes | None = b"") -> Delivery:
    """A record that says this event; under its order's id, unless another key is given."""
    attributes = {name: value for name, value in meant.items() if name != "data"}
    made = record(encoding, meant["data"], attributes=attributes, key=key)
    return _delivery(made, Meaning("event", meant, meant["subject"]))


def broken(made: Rec) -> Delivery:
    """A record that can't be read."""
    return _delivery(made, Meaning("broken"))


def erasing(order: str) -> Delivery:
    """A tombstone."""
    return Delivery(order.encode(), None, [], Meaning("tombstone", order_id=order))


def other(delivery: Delivery, **changed: Any) -> Delivery:
    """Another event than this delivery's, under the same key, so in the same partition: these attributes differ."""
    assert delivery.meant.event is not None
    return replace(telling({**delivery.meant.event, **changed}), key=delivery.key)


def _delivery(made: Rec, meant: Meaning) -> Delivery:
    return Delivery(made.key, made.value, [(name, text or b"") for name, text in made.headers], meant)
