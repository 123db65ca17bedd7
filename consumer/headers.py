"""A record's headers as JSON and back, without loss: what parked events and dead letters keep.

An object of name → text, for people to read. What text can't say has its own shape: bytes that are no text
PostgreSQL can hold are {"base64": …}, a null is null, a repeated name has a list of these, in order.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import orjson

Headers = Iterable[tuple[str, bytes | None]]

_ODD_NAME = "base64:"  # before a name that JSON in PostgreSQL can't hold


def to_json(headers: Headers) -> str:
    found: dict[str, Any] = {}
    for name, value in headers:
        key = name if _storable(name) and not name.startswith(_ODD_NAME) else _ODD_NAME + _base64(name.encode())
        shown = _shown(value)
        if key in found:
            there = found[key]
            found[key] = [*there, shown] if isinstance(there, list) else [there, shown]
        else:
            found[key] = shown
    return orjson.dumps(found).decode()


def from_json(text: str) -> tuple[tuple[str, bytes | None], ...]:
    pairs = []
    for key, shown in orjson.loads(text).items():
        name = base64.b64decode(key[len(_ODD_NAME) :]).decode() if key.startswith(_ODD_NAME) else key
        pairs += [(name, _value(one)) for one in (shown if isinstance(shown, list) else [shown])]
    return tuple(pairs)


def _shown(value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return {"base64": _base64(value)}
    return text if _storable(text) else {"base64": _base64(value)}


def _value(shown: Any) -> bytes | None:
    if shown is None:
        return None
    return base64.b64decode(shown["base64"]) if isinstance(shown, dict) else str(shown).encode()


def _storable(text: str) -> bool:
    return "\x00" not in text


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
