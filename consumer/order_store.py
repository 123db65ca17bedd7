"""The orders' states in PostgreSQL: read without locks, written by compare-and-set.

A batch reads its orders as they stand and writes each only if its revision is still the one it read; the number
of rows written says whether all were. Nobody waits for a lock to read, a new order needs no stub, and the
lost wake-up (parking an event while another worker applies the one it waits for) can't happen, since a
parked event's order is written too. After a lost race the orders are locked first, in key order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any

import asyncpg

from consumer.verdicts import Change
from runtime.packing import pack
from runtime.postgres import affected
from runtime.sql import HOME, Queries
from schemas import money
from schemas.connection import Connection
from schemas.errors import LostRace
from schemas.order import OrderState

_SQL = Queries("consumer", "queries.sql")

_MOMENTS = ("placed", "confirmed", "paid", "shipped", "delivered", "cancelled", "last_event")
_NUMBERS = ("unit_count", "total", "paid", "refunded")
_OTHERS = ("version", "erased", *(f"{name}_at" for name in _MOMENTS))
_TEXTS = tuple(field.name for field in fields(OrderState) if field.name not in _OTHERS)
_texts, _others = attrgetter(*_TEXTS), attrgetter(*_OTHERS)
_UNIT_COUNT, *_MONEY_AT = (_TEXTS.index(name) for name in _NUMBERS)


class Orders(dict[str, OrderState]):
    """States by order id, as read, with the revision that each had."""

    def __init__(self, states: Mapping[str, OrderState], revisions: Mapping[str, int]) -> None:
        super().__init__(states)
        self.revisions = revisions


async def read(connection: Connection, order_ids: Iterable[str], *, hold: bool = False, schema: str = HOME) -> Orders:
    """The orders among these that exist. `hold` locks them all until the transaction ends, and makes those exist."""
    wanted = list(order_ids)
    queries = _SQL.within(schema)
    if hold:
        await connection.execute(queries["orders_hold"], wanted)
    rows = await connection.fetch(queries["orders_read"], wanted)
    states, revisions = {}, {}
    for row in rows:
        state, revision = from_row(row)
        states[state.order_id] = state
        revisions[state.order_id] = revision
    return Orders(states, revisions)


async def write(
    connection: Connection, changes: Iterable[Change], revisions: Mapping[str, int], schema: str = HOME
) -> None:
    """Write what these changes leave behind. Raises LostRace if somebody else has written one of the orders."""
    states = [change.after for change in changes]
    if not states:
        return
    rows = [_row(state, revisions.get(state.order_id, 0) + 1) for state in states]
    packed = pack(list(zip(*rows, strict=True)))
    written = await connection.execute(
        _SQL.within(schema)["orders_write"], packed.separator, packed.null, *packed.columns
    )
    if affected(written) != len(states):
        raise LostRace("another writer changed one of these orders")


COPY_COLUMNS = (*_TEXTS, "revision", *_OTHERS)


def copy_row(state: OrderState) -> list[str | None]:
    """A state as a row of COPY_COLUMNS. Its first revision is its version: any number would do."""
    return _row(state, state.version)


def from_row(row: asyncpg.Record) -> tuple[OrderState, int]:
    """(state, revision) of a row of `orders_read`."""
    found: dict[str, Any] = dict(row)
    revision = found.pop("revision")
    for name in _NUMBERS:
        found[name] = int(found[name])
    state = object.__new__(OrderState)
    state.__dict__.update(found)
    return state, revision


def _row(state: OrderState, revision: int) -> list[str | None]:
    """The state as texts, in the order of COPY_COLUMNS and `orders_write`."""
    texts = list(_texts(state))
    texts[_UNIT_COUNT] = str(texts[_UNIT_COUNT])
    for place in _MONEY_AT:
        texts[place] = money.text(texts[place])
    version, erased, *moments = _others(state)
    texts += (str(revision), str(version), "t" if erased else "f")
    texts += [None if moment is None else moment.isoformat() for moment in moments]
    return texts
