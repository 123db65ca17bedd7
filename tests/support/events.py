"""Events and records for tests, short to write: what isn't said is valid and ordinary."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from schemas.events import Event
from schemas.identity import event_uuid
from schemas.wire import decode

Row = dict[str, Any]
Encoding = Literal["binary", "structured", "outbox"]
ENCODINGS: tuple[Encoding, ...] = ("binary", "structured", "outbox")

LINE: Row = {"sku": "pen", "quantity": 2, "unit_price": "12.50"}

# The least that each type has to carry.
DATA: dict[str, Row | None] = {
    "order.placed": {"customer": {"id": "c-1", "name": "Ada"}, "currency": "EUR", "lines": [LINE]},
    "order.line_added": {"line": {"sku": "cup", "quantity": 1, "unit_price": "3"}},
    "order.line_removed": {"sku": "pen"},
    "order.address_changed": {"shipping_address": {"city": "Amsterdam"}},
    "order.confirmed": None,
    "order.payment_captured": {"payment_id": "p-1", "amount": "25.00"},
    "order.payment_failed": {"payment_id": "p-1", "reason": "card declined"},
    "order.shipped": {"carrier": "PostNL", "tracking_number": "T-1"},
    "order.delivery_failed": {"reason": "nobody at home"},
    "order.delivered": None,
    "order.cancelled": {"reason": "changed my mind"},
    "order.refunded": {"amount": "25.00", "reason": "returned"},
    "order.gift_wrapped": {"paper": "stars"},  # a newer producer's, unknown to us
}


class Rec(NamedTuple):
    """A Kafka record."""

    topic: str = "orders.events"
    partition: int = 0
    offset: int = 0
    timestamp: int = 1_767_225_600_000
    key: bytes | None = b"o-1"
    value: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def placed(*lines: Row, **more: Any) -> Row:
    """The data of an order.placed: `placed({...a line...}, currency="USD")`."""
    return {**(DATA["order.placed"] or {}), "lines": list(lines) or [LINE], **more}


def attributes(type_: str = "placed", version: Any = 1, *, order: str = "o-1", **given: Any) -> Row:
    """The CloudEvents attributes of a valid event; None takes one away."""
    kind = type_ if type_.startswith("order.") else f"order.{type_}"
    found: Row = {"id": f"{order}-{version}", "source": "/shop/orders", "type": kind, "subject": order}
    found |= {"time": "2026-01-01T12:00:00Z", "sequence": version, **given}
    return {name: value for name, value in found.items() if value is not None}


def event(type_: str = "placed", version: int = 1, data: Any = ..., **given: Any) -> Event:
    """A decoded event, data checked: `event("shipped", 3, order="o-2", id="e-9")`."""
    return decoded(row(type_, version, data, **given))


def row(type_: str = "placed", version: int = 1, data: Any = ..., **given: Any) -> Row:
    """An event as the reference model takes it: the attributes and `data`. Version n happens at minute n."""
    when = {"time": f"2026-01-01T12:{version % 60:02d}:00Z"}
    found = attributes(type_, version, **{**when, **given})
    return {**found, "data": DATA.get(found["type"]) if data is ... else data}


def decoded(meant: Row) -> Event:
    found = decode(record("binary", meant["data"], attributes={k: v for k, v in meant.items() if k != "data"}))
    assert isinstance(found, Event), found
    return found


def record(
    encoding: Encoding = "binary",
    data: Any = ...,
    type_: str = "placed",
    *,
    attributes: Row | None = None,
    key: bytes | None | Literal["the order's"] = "the order's",
    headers: Iterable[tuple[str, bytes | None]] = (),
    offset: int = 0,
    **given: Any,
) -> Rec:
    """A record in one of the three encodings. `data` is a value, or bytes to be taken as they are.

    `given` are attributes; None takes one away. `headers` come after those of the encoding.
    """
    said = _attributes(type_, **given) if attributes is None else attributes
    value = to_bytes(DATA.get(said.get("type", "")) if data is ... else data)
    order = str(said.get("subject", "o-1"))
    where = order.encode() if key == "the order's" else key
    assert not isinstance(where, str)
    if encoding == "structured":
        return Rec(key=where, value=structured(said, value), headers=(*_STRUCTURED, *headers), offset=offset)
    names = _binary_name if encoding == "binary" else _outbox_name
    head = [(name, header(value)) for attribute, value in said.items() if (name := names(attribute))]
    spec = [("ce_specversion", b"1.0")] if encoding == "binary" else []
    return Rec(key=where, value=value, headers=(*spec, *head, *headers), offset=offset)


def structured(said: Row, data: bytes | None, name: str = "data") -> bytes:
    """A structured CloudEvent's text, its data as these very bytes."""
    body = to_bytes({"specversion": "1.0", **said})
    return body if data is None else body[:-1] + b', "%s": ' % name.encode() + data + b"}"


def header(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def to_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False, default=_number).encode()


def at(minute: int) -> datetime:
    """When version `minute` of an order happens."""
    return datetime(2026, 1, 1, 12, minute, tzinfo=UTC)


def uuid_of(event_id: str) -> str:
    return event_uuid(event_id)


_STRUCTURED = (("content-type", b"application/cloudevents+json"),)
_attributes = attributes


def _binary_name(attribute: str) -> str:
    return f"ce_{attribute}"


def _outbox_name(attribute: str) -> str | None:
    return {"type": "eventType", "subject": None}.get(attribute, attribute)


def _number(value: Any) -> float:
    assert isinstance(value, Decimal)
    return float(value)
