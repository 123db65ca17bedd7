"""Dead letters as a person looks at them."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from consumer.verdicts import Reason
from runtime.sql import Queries
from schemas.connection import Connection

_SQL = Queries("consumer", "queries.sql")


async def find(
    connection: Connection, reason: Reason | None, order_id: str | None, resolved_too: bool, most: int
) -> list[dict[str, Any]]:
    """The newest letters, without their bytes."""
    rows = await connection.fetch(_SQL["letters_list"], reason, order_id, resolved_too, most)
    return [dict(row) for row in rows]


async def show(connection: Connection, letter: int) -> dict[str, Any] | None:
    """One letter, whole: key and value as text where they are text, else in base64."""
    row = await connection.fetchrow(_SQL["letters_show"], letter)
    if row is None:
        return None
    found = dict(row)
    found["headers"] = orjson.loads(found["headers"])
    for name in ("key", "value"):
        found |= _readable(name, found.pop(name))
    return found


def _readable(name: str, value: bytes | None) -> dict[str, str | None]:
    if value is None:
        return {name: None}
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value).decode()}
