"""Whether a decoded record is what `decode` promises: one of three, and nothing in it that PostgreSQL refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from schemas.events import Decoded, Event, Tombstone, Unreadable


def sound(found: Decoded) -> bool:
    """It is one of the three, and neither it nor its reason holds what PostgreSQL would refuse."""
    assert isinstance(found, Event | Tombstone | Unreadable)
    for text in strings(found[:-1]):
        assert "\x00" not in text
        text.encode()  # raises at half a surrogate
    if isinstance(found, Event) and found.data_text is not None:
        said = json.loads(found.data_text, parse_float=Decimal, parse_constant=_never)
        assert all("\x00" not in text and text.encode() for text in strings(said) if text)
        assert all(number.adjusted() < 131_072 for number in _numbers(said))
        assert 1 <= found.version < 2**63
        assert len(found.order_id) <= 200 >= len(found.id)
    return True


def _parts(value: Any) -> Iterator[Any]:
    yield value
    for inner in (
        (*value, *value.values()) if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    ):
        yield from _parts(inner)


def strings(value: Any) -> Iterator[str]:
    return (part for part in _parts(value) if isinstance(part, str))


def _numbers(value: Any) -> Iterator[Decimal]:
    return (part for part in _parts(value) if isinstance(part, Decimal))


def _never(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")
