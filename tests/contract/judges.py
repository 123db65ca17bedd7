"""The two judges of an event: the code that decodes it, and its published schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from schemas import contracts, wire
from schemas.events import DATA_OF, Event

EVENT_TYPES = sorted(DATA_OF)


def _ecma_pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    """In ECMA 262, whose patterns JSON Schema has, `$` is the end; in Python also the place before a last newline."""
    if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
        yield ValidationError(f"does not match {pattern}")


EcmaValidator: Any = extend(  # type: ignore[no-untyped-call]  # typed by nobody
    Draft202012Validator, {"pattern": _ecma_pattern}
)


def schema_of(event_type: str) -> Any:
    return json.loads((contracts.FOLDER / f"{event_type}.json").read_text("utf-8"))


SCHEMA = {name: EcmaValidator(schema_of(name)) for name in EVENT_TYPES}


class Rec(NamedTuple):
    value: bytes
    headers: Any = (("content-type", b"application/cloudevents+json"),)
    key: bytes = b"o-1001"
    topic: str = "orders.events"
    partition: int = 0
    offset: int = 0
    timestamp: int = 0


def code_takes(value: bytes) -> bool:
    return isinstance(wire.decode(Rec(value)), Event)


def schema_takes(event_type: str, value: bytes) -> bool:
    """By a validator that reads numbers exactly."""
    return bool(SCHEMA[event_type].is_valid(json.loads(value, parse_float=Decimal)))
