"""Events as Kafka records, in the three encodings that the projector reads."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import orjson

from producer.simulation import Delivery, Meaning
from testkit.events import Event, meant

Encoding = Literal["binary", "structured", "outbox"]
ENCODINGS: tuple[Encoding, ...] = ("binary", "structured", "outbox")

_APART = ("data", "specversion")
_INT64 = 2**63


def encoded(event: Event, encoding: Encoding = "binary") -> Delivery:
    """The record of an event, keyed by its order, with what it means."""
    said = meant(event)
    attributes = {name: str(text) for name, text in said.items() if name not in _APART and text is not None}
    key, meaning = said["subject"].encode(), Meaning("event", said, said["subject"])
    if encoding == "structured":
        body = {"specversion": "1.0", **attributes, "data": _exact(said["data"])}
        return Delivery(key, orjson.dumps(body), [("content-type", b"application/cloudevents+json")], meaning)
    if encoding == "binary":
        named = {"ce_specversion": "1.0", **{f"ce_{name}": text for name, text in attributes.items()}}
    else:
        named = {{"type": "eventType"}.get(name, name): text for name, text in attributes.items() if name != "subject"}
    headers = [(name, text.encode()) for name, text in named.items()]
    return Delivery(key, orjson.dumps(_exact(said["data"])), headers, meaning)


def _exact(value: Any) -> Any:
    """JSON numbers digit for digit: no float for a Decimal, no limit for an int."""
    match value:
        case Decimal():
            return orjson.Fragment(format(value, "f"))
        case int() if abs(value) >= _INT64:
            return orjson.Fragment(str(value))
        case dict():
            return {name: _exact(one) for name, one in value.items()}
        case list() | tuple():
            return [_exact(one) for one in value]
    return value
