"""JSON read with every number exact, by the standard library alone: for comparing, not for deciding. Pure."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

_SLOW = 500  # digits of an integer from which Python's own is slow; it is refused at 4,300


def parsed(text: str) -> Any:
    """The value of a JSON text, every number an int or a Decimal."""
    try:
        value, end = _scan(text, 0)  # what `decode` does, without its search for space before and behind
    except (StopIteration, ValueError):
        value, end = None, -1
    if end == len(text):
        return value
    try:
        return _FAST.decode(text)
    except ValueError:  # an integer of more than 4,300 digits: jsonb writes 1e5000 like that
        return _EXACT.decode(text)


_FAST = json.JSONDecoder(parse_float=Decimal)
_scan = _FAST.scan_once  # type: ignore[attr-defined]  # public in the module, not in typeshed
_EXACT = json.JSONDecoder(
    parse_float=Decimal, parse_int=lambda digits: int(digits) if len(digits) < _SLOW else Decimal(digits)
)
