"""Older versions of an event's data, brought to the current one on reading (CONTRACT 1, `schemaversion`).

The contract's table is version 1, which is also what an event without `schemaversion` has. Version 0 is what
the shop sent before there was a contract: one event of it differed. A version newer than ours is read as ours:
unknown fields are ignored, and if what we need is missing the event is unreadable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from schemas.events import PLACED

CURRENT = 1

Upcast = Callable[[dict[str, Any]], dict[str, Any]]


def _placed_0_to_1(data: dict[str, Any]) -> dict[str, Any]:
    """`customer_id`, `customer_name`, `customer_email` stood beside the lines, which were called `items`."""
    flat = ("customer_id", "customer_name", "customer_email", "items")
    newer = {name: value for name, value in data.items() if name not in flat}
    customer = {name: data[f"customer_{name}"] for name in ("id", "name", "email") if f"customer_{name}" in data}
    return {**newer, "customer": customer, "lines": data.get("items")}


# (type, version it is in) → to the next version. A type without an entry has not changed since.
_UPCASTS: dict[tuple[str, int], Upcast] = {(PLACED, 0): _placed_0_to_1}


def upcast(event_type: str, version: int, data: Any) -> Any:
    """The data in the current version. Data that is no object is left for validation to refuse."""
    while version < CURRENT and isinstance(data, dict):
        step = _UPCASTS.get((event_type, version))
        data = step(data) if step else data
        version += 1
    return data
