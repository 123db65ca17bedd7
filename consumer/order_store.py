"""The orders' states in PostgreSQL: read without locks, written by compare-and-set.

A batch reads its orders as they stand and writes each only if its revision is still the one it read; the number
of rows written says whether all were. Nobody waits for a lock to read, a new order needs no stub, and the
lost wake-up (parking an event while another worker applies the one it waits for) can't happen, since a
parked event's order is written too. After a lost race the orders are locked first, in key order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

import asyncpg

from runtime.copying import copy
from runtime.packing import pack
from runtime.postgres import affected, races_lost
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

    def __init__(self, rows: Iterable[asyncpg.Record], beside: Sequence[str] = ()) -> None:
        """`rows` of `orders_read`, or such as have other columns beside its own."""
        super().__init__()
        self.revisions: dict[str, int] = {}
        for row in rows:
            state, revision = from_row(row, beside)
            self[state.order_id] = state
            self.revisions[state.order_id] = revision


async def read(connection: Connection, order_ids: Iterable[str], *, hold: bool = False, schema: str = HOME) -> Orders:
    """The orders among these that exist. `hold` locks them all until the transaction ends, and makes those exist."""
    wanted = list(order_ids)
    if hold:
        await lock(connection, wanted, schema)
    return Orders(await connection.fetch(_SQL.within(schema)["orders_read"], wanted))


async def lock(connection: Connection, order_ids: Sequence[str], schema: str = HOME) -> None:
    """Lock orders until the transaction ends, and make those exist."""
    await connection.execute(_SQL.within(schema)["orders_hold"], order_ids)


async def write(
    connection: Connection, states: Sequence[OrderState], revisions: Mapping[str, int], schema: str = HOME
) -> None:
    """Write orders that had these revisions when they were read. Raises LostRace if somebody else has written one."""
    if not states:
        return
    packed = pack(columns(states, revisions))
    written = await connection.execute(
        _SQL.within(schema)["orders_write"], packed.separator, packed.null, *packed.columns
    )
    all_written(affected(written), states)


async def add(connection: Connection, states: Iterable[OrderState]) -> None:
    """Write orders that weren't there when they were read, by COPY: a third cheaper than what looks first whether they
    are. Raises LostRace if one of them is there by now."""
    in_order = sorted(states, key=attrgetter("order_id"))
    with races_lost("orders"):
        await copy(connection, HOME, "orders", COPY_COLUMNS, columns(in_order, {}))


def all_written(written: int, states: Sequence[OrderState]) -> None:
    """Raises LostRace unless so many rows are all of these orders."""
    if written != len(states):
        raise LostRace("another writer changed one of these orders")


WRITE = _SQL["orders_write"]


COPY_COLUMNS = (*_TEXTS, "revision", *_OTHERS)


def columns(states: Sequence[OrderState], revisions: Mapping[str, int]) -> list[Sequence[str | None]]:
    """States as the columns of WRITE, each with the revision after the one that it had; of none, none."""
    return _columns(states, [revisions.get(state.order_id, 0) + 1 for state in states]) if states else []


def first_columns(states: Sequence[OrderState]) -> list[Sequence[str | None]]:
    """States as COPY_COLUMNS; of none, none. Their first revision is their version: any number would do."""
    return _columns(states, [state.version for state in states]) if states else []


def from_row(row: asyncpg.Record, beside: Iterable[str] = ()) -> tuple[OrderState, int]:
    """(state, revision) of a row of `orders_read`, or of one that has other columns beside its own."""
    found: dict[str, Any] = dict(row)
    for name in beside:
        del found[name]
    revision = found.pop("revision")
    for name in _NUMBERS:
        found[name] = int(found[name])
    state = object.__new__(OrderState)
    state.__dict__.update(found)
    return state, revision


def _columns(states: Sequence[OrderState], revisions: Sequence[int]) -> list[Sequence[str | None]]:
    """The states as texts, column by column: COPY_COLUMNS, which are those of `orders_write`."""
    texts: list[Sequence[Any]] = list(zip(*map(_texts, states), strict=True))
    texts[_UNIT_COUNT] = [*map(str, texts[_UNIT_COUNT])]
    for place in _MONEY_AT:
        texts[place] = [*map(money.text, texts[place])]
    versions, erased, *moments = zip(*map(_others, states), strict=True)
    return [
        *texts,
        [*map(str, revisions)],
        [*map(str, versions)],
        ["t" if one else "f" for one in erased],
        *([None if moment is None else moment.isoformat() for moment in column] for column in moments),
    ]
