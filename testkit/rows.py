"""Rows as readers see them: by column name, money as decimals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from consumer.read_models.kinds import Column, Contribution, Document, Stored, Type
from consumer.reference import instant
from schemas import json_text, money
from schemas.order import OrderState

Row = dict[str, Any]

_PYTHON: dict[Type, Any] = {
    Type.TEXT: str,
    Type.COUNT: int,
    Type.QUANTITY: int,
    Type.MONEY: int,
    Type.TIMESTAMP: datetime,
    Type.DAY: date,
}
_NULLABLE = (Type.TEXT, Type.TIMESTAMP, Type.DAY)  # among the values; a key is NOT NULL whatever its type
_INT64 = 2**63

# An entry of a B-tree index holds 2,704 bytes: a third of a page of 8,192, less what the page itself needs. 8 of them
# are the entry's head, and up to 12 of each column are its length and what it is aligned by; the shard of a
# contribution is a column too. (PostgreSQL squeezes a longer text in if it compresses well. The next one doesn't.)
_ENTRY, _HEAD, _COLUMN = 2_704, 8, 12


def rows_of(model: Stored, orders: Iterable[OrderState]) -> list[Row]:
    """What a read model's own function says of these orders as they are."""
    placed = [order for order in orders if order.placed_at is not None]
    if isinstance(model, Document):
        found = [(order.order_id, model.row(order)) for order in placed]
        return [
            document_row(model, order_id, [row[column.name] for column in model.values])
            for order_id, row in found
            if row is not None
        ]
    assert isinstance(model, Contribution)
    sums: dict[tuple[Any, ...], list[int]] = {}
    for order in placed:
        for key, shares in model.contributions(order):
            sums[key] = [a + b for a, b in zip(sums.get(key, [0] * len(shares)), shares, strict=True)]
    return sum_rows(model, sums)


def document_row(model: Stored, order_id: str, values: Sequence[Any]) -> Row:
    """An order's row from the values that its function gave. Raises as `sum_rows` does."""
    shown = {column.name: _shown(column, value) for column, value in zip(model.values, values, strict=True)}
    return {**_key(model, (order_id,)), **shown}


def sum_rows(model: Stored, sums: Mapping[tuple[Any, ...], Sequence[int]]) -> list[Row]:
    """A contribution's rows from its sums; a row whose every figure is zero is none. Raises TypeError for what is not
    of its column's type, ValueError for what is and can't be stored in PostgreSQL all the same."""
    return [
        {
            **_key(model, key),
            **{column.name: _shown(column, share) for column, share in zip(model.values, shares, strict=True)},
        }
        for key, shares in sums.items()
        if any(shares)
    ]


def as_said(model: Stored, row: Mapping[str, Any]) -> Row:
    """A row as a test may write it ("12.50", "2026-01-01"), in the types that readers get. Every column has to be
    there, and no other."""
    columns = {column.name: column for column in (*model.keys, *model.values)}
    if row.keys() != columns.keys():
        raise ValueError(f"a row of {model.name} has the columns {', '.join(columns)}; this one has {', '.join(row)}")
    return {name: _said(column, row[name]) for name, column in columns.items()}


def sort_key(model: Stored, row: Row) -> tuple[Any, ...]:
    """By which rows are put in order."""
    return tuple(row[column.name] for column in model.keys)


def _key(model: Stored, values: Sequence[Any]) -> Row:
    """A row's key as readers see it."""
    for column, value in zip(model.keys, values, strict=True):
        if value is None:
            raise TypeError(f"{column.name}: None can't stand in a key")
    shown = {column.name: _shown(column, value) for column, value in zip(model.keys, values, strict=True)}
    size = _HEAD + _COLUMN * (len(shown) + 1) + sum(len(str(value).encode()) for value in shown.values())
    if size > _ENTRY:
        raise ValueError(f"{', '.join(shown)}: a key of {size:,} bytes; an index entry holds {_ENTRY:,}")
    return shown


def _shown(column: Column, value: Any) -> Any:
    """A function's value as readers see it."""
    if value is None and column.type in _NULLABLE:
        return None
    if not isinstance(value, _PYTHON[column.type]) or (column.type is Type.TIMESTAMP and value.tzinfo is None):
        raise TypeError(f"{column.name}: {value!r} can't stand in a column of type {column.type.value}")
    if why := _unstorable(column, value):
        raise ValueError(f"{column.name}: {why}")
    if column.type is Type.MONEY:
        return Decimal(money.text(value))
    return int(value) if isinstance(value, bool) else value


def _unstorable(column: Column, value: Any) -> str | None:
    """Why PostgreSQL can't hold a value that is of its column's type."""
    match column.type:
        case Type.TEXT if why := json_text.unstorable(value):
            return f"a text that {why}"
        case Type.COUNT if not -_INT64 <= value < _INT64:
            return f"{value} is beyond 64 bits; Type.QUANTITY is an int of any size"
    return None


def _said(column: Column, value: Any) -> Any:
    match column.type, value:
        case Type.MONEY, str() | int():
            return Decimal(value)
        case Type.TIMESTAMP, str():
            return instant(value)
        case Type.DAY, str():
            return date.fromisoformat(value)
        case Type.TIMESTAMP, datetime() if value.tzinfo is None:
            raise ValueError(f"{column.name}: a time without an offset is no instant: {value}")
    return value


def difference(model: Stored, expected: Sequence[Row], found: Sequence[Row]) -> str:
    """What is there too little (-) and too much (+), as a table; empty if nothing is. A row that is expected twice has
    to be there twice."""
    lacking = [("-", row) for row in _without(expected, found)]
    too_many = [("+", row) for row in _without(found, expected)]
    if not lacking and not too_many:
        return ""
    rows = sorted([*lacking, *too_many], key=lambda one: tuple(map(str, sort_key(model, one[1]))))
    names = [column.name for column in (*model.keys, *model.values)]
    lines = [[" ", *names], *([sign, *(_text(row[name]) for name in names)] for sign, row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join([*table, "(-: expected, not there; +: there, not expected)"])


def _without(rows: Sequence[Row], others: Sequence[Row]) -> list[Row]:
    """What is left of the rows when each of the others has taken one like it away."""
    left = list(rows)
    for row in others:
        if row in left:
            left.remove(row)
    return left


def _text(value: Any) -> str:
    return format(value.normalize(), "f") if isinstance(value, Decimal) else str(value)
