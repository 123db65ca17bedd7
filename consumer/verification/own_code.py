"""Read models that the reference model doesn't know: what their own code says of the orders' states as they stand.

So that code is not judged here, and neither is the fold; only whether the rows are what the two would make now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from consumer.read_model_sql import TableSql
from consumer.read_models import Contribution, Document
from consumer.read_models.kinds import Column, Stored, Type
from consumer.verification.arrivals import Row
from schemas import money
from schemas.errors import Refused
from schemas.order import OrderState


def keys(model: Stored) -> tuple[str, ...]:
    return tuple(column.name for column in model.keys)


def rows(model: Stored, states: Iterable[OrderState]) -> list[Row]:
    """The rows of a document, or a contribution's shares, one row each. Raises Refused if its code fails."""
    try:
        return list(_rows(model, states))
    except Exception as error:
        raise Refused(f"read model {model.name}: its code fails on an order, {type(error).__name__}") from error


def table(model: Stored) -> str | None:
    """The table to look at, for a model whose view is its author's own SQL and may show anything; None: its view."""
    return None if model.view_sql() is None else TableSql(model).table


def _rows(model: Stored, states: Iterable[OrderState]) -> Iterator[Row]:
    for state in states:
        if isinstance(model, Document):
            row = model.row(state)
            if row is not None:
                yield _row(model, (state.order_id,), [row[column.name] for column in model.values])
        elif isinstance(model, Contribution):
            for key, shares in model.contributions(state):
                yield _row(model, key, shares)


def _row(model: Stored, key: Iterable[Any], values: Iterable[Any]) -> Row:
    pairs = [*zip(model.keys, key, strict=True), *zip(model.values, values, strict=True)]
    return {column.name: _shown(column, value) for column, value in pairs}


def _shown(column: Column, value: Any) -> Any:
    if column.type is Type.MONEY and value is not None:
        return Decimal(money.text(value))
    return int(value) if isinstance(value, bool) else value
