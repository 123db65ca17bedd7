"""An order's state as JSON and back, without loss: what `write_model.orders` keeps.

Money is a decimal text, times are RFC 3339, lines and address are what the read model shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from pydantic_core import from_json

from schemas import money
from schemas.json_text import printed
from schemas.order import OrderState

_MONEY = ("total", "paid", "refunded")
_JSON = ("lines", "shipping_address")
_FIELDS = tuple(field.name for field in fields(OrderState))
_TIMES = tuple(name for name in _FIELDS if name.endswith("_at"))


def dump(state: OrderState) -> str:
    """The state as a JSON object; what is None is left out."""
    parts = [f"{printed(name)}: {_value(name, value)}" for name, value in vars(state).items() if value is not None]
    return "{" + ", ".join(parts) + "}"


def load(text: str) -> OrderState:
    """The state that `dump` wrote, whatever whitespace and order PostgreSQL has given it."""
    return of_object(from_json(text))


def of_object(written: Mapping[str, Any]) -> OrderState:
    """The same from JSON that is parsed already."""
    found = {name: value for name, value in written.items() if name in _FIELDS}
    for name in _MONEY:
        found[name] = money.units(found[name])
    for name in _TIMES:
        if name in found:
            found[name] = datetime.fromisoformat(found[name])
    for name in _JSON:
        if name in found:
            found[name] = printed(found[name])
    return OrderState(**found)


def _value(name: str, value: Any) -> str:
    if name in _JSON:
        return str(value)  # JSON text already
    if name in _MONEY:
        return printed(money.text(value))
    return printed(value.isoformat() if isinstance(value, datetime) else value)
