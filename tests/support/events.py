"""Events and records for tests, short to write: what isn't said is valid and ordinary."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from schemas.events import Event, Record, Unreadable
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


def named(type_: str = "placed", version: Any = 1, *, order: str = "o-1", **given: Any) -> Row:
    """The CloudEvents attributes of a valid event; None takes one away."""
    kind = type_ if type_.startswith("order.") else f"order.{type_}"
    found: Row = {"id": f"{order}-{version}", "source": "/shop/orders", "type": kind, "subject": order}
    found |= {"time": "2026-01-01T12:00:00Z", "sequence": version, **given}
    return {name: value for name, value in found.items() if value is not None}


def row(type_: str = "placed", version: int = 1, data: Any = ..., **given: Any) -> Row:
    """An event as the reference model takes it: attributes and `data`. Version n happens at minute n."""
    found = named(type_, version, **{"time": f"2026-01-01T12:{version % 60:02d}:00Z", **given})
    return {**found, "data": DATA.get(found["type"]) if data is ... else data}


def event(type_: str = "placed", version: int = 1, data: Any = ..., **given: Any) -> Event:
    """A decoded event, data checked: `event("shipped", 3, order="o-2", id="e-9")`."""
    return decoded(row(type_, version, data, **given))


def decoded(meant: Row) -> Event:
    return read(record(data=meant["data"], attributes={name: value for name, value in meant.items() if name != "data"}))


def read(rec: Record) -> Event:
    found = decode(rec)
    assert isinstance(found, Event), found
    return found


def refused(rec: Record) -> Unreadable:
    found = decode(rec)
    assert isinstance(found, Unreadable), found
    return found


def at(minute: int) -> datetime:
    """When version `minute` of an order happens."""
    return datetime(2026, 1, 1, 12, minute, tzinfo=UTC)


def record(
    encoding: Encoding = "binary",
    data: Any = ...,
    type_: str = "placed",
    *,
    attributes: Row | None = None,
    key: bytes | None = b"",
    headers: Iterable[tuple[str, bytes | None]] = (),
    **given: Any,
) -> Rec:
    """A record in one of the three encodings. `data` is a value, or bytes to be taken as they are.

    `given` are attributes; None takes one away. `headers` come after those of the encoding. The key is the order's
    id if none is given.
    """
    said = named(type_, **given) if attributes is None else attributes
    value = to_bytes(DATA.get(str(said.get("type"))) if data is ... else data)
    where = str(said.get("subject", "o-1")).encode() if key == b"" else key
    if encoding == "structured":
        head = [("content-type", b"application/cloudevents+json")]
        return Rec(key=where, value=structured(said, value), headers=(*head, *headers))
    if encoding == "binary":
        said = {f"ce_{name}": text for name, text in {"specversion": "1.0", **said}.items()}
    else:
        said = {{"type": "eventType"}.get(name, name): text for name, text in said.items() if name != "subject"}
    head = [(name, text if isinstance(text, bytes) else str(text).encode()) for name, text in said.items()]
    return Rec(key=where, value=value, headers=(*head, *headers))


def structured(said: Row, data: bytes | None) -> bytes:
    """A structured CloudEvent's text, its data as these very bytes."""
    body = to_bytes({"specversion": "1.0", **said})
    return body if data is None else body[:-1] + b', "data": ' + data + b"}"


def to_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
