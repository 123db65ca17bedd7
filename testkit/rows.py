"""Rows as readers see them: by column name, money as decimals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from consumer.order import OrderState
from consumer.read_models.kinds import Column, Contribution, Document, Stored, Type
from consumer.reference import instant
from schemas import money

Row = dict[str, Any]


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
    """An order's row from the values that its function gave."""
    shown = {column.name: _shown(column, value) for column, value in zip(model.values, values, strict=True)}
    return {model.keys[0].name: order_id, **shown}


def sum_rows(model: Stored, sums: Mapping[tuple[Any, ...], Sequence[int]]) -> list[Row]:
    """A contribution's rows from its sums; a row whose every figure is zero is none."""
    columns = (*model.keys, *model.values)
    return [
        {column.name: _shown(column, value) for column, value in zip(columns, (*key, *shares), strict=True)}
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


def _shown(column: Column, value: Any) -> Any:
    if value is None:
        return None
    if column.type is Type.MONEY:
        return Decimal(money.text(value))
    return int(value) if isinstance(value, bool) else value


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
