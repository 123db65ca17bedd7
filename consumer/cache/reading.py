"""Orders as readers see them, straight from PostgreSQL, and for how long a copy may be kept."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from consumer.cache.entry import Entry
from runtime.sql import Queries
from schemas.connection import Connection

_SQL = Queries("consumer", "queries.sql")

TTL = 60.0  # seconds, where all is well
_TTL_IN_TROUBLE = 5.0


class Shown(NamedTuple):
    """Orders that are there, of one snapshot. `current`: not a replica's, of which nobody knows how far it is behind:
    what it says may be older than every mark."""

    orders: dict[str, Entry]
    current: bool


async def shown(connection: Connection, order_ids: Collection[str]) -> Shown:
    """Those of these orders that readers see."""
    rows = await connection.fetch(_SQL["orders_shown"], list(order_ids))
    orders = {
        row["order_id"]: Entry(row["generation"], row["version"], row["as_of"], row["body"].encode()) for row in rows
    }
    return Shown(orders, not any(row["replica"] for row in rows))


async def generation(connection: Connection) -> int:
    """The read models' generation: one more each time that their rows were swapped for others."""
    return int(await connection.fetchval(_SQL["generation"]))


def kept(staleness: float | None, objective: float) -> float:
    """For how many seconds a copy is kept, by how far the read models are behind (None: nobody knows).

    Only a lost mark lets a copy outlive its order's state, and marks are lost where workers die or the cache is away;
    and that is when the read models fall behind too.
    """
    return TTL if staleness is not None and staleness <= objective else _TTL_IN_TROUBLE
