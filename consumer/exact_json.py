"""JSON read with every number exact, by the standard library alone: for comparing, not for deciding. Pure."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

_SLOW = 500  # digits of an integer from which Python's own is slow; it is refused at 4,300


def parsed(text: str) -> Any:
    """The value of a JSON text, every number an int or a Decimal."""
    try:
        return _FAST.decode(text)
    except ValueError:  # an integer of more than 4,300 digits: jsonb writes 1e5000 like that
        return _EXACT.decode(text)


_FAST = json.JSONDecoder(parse_float=Decimal)
_EXACT = json.JSONDecoder(
    parse_float=Decimal, parse_int=lambda digits: int(digits) if len(digits) < _SLOW else Decimal(digits)
)
