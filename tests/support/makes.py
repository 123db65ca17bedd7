"""The built-in read models in other makes: as they were before somebody mended them, or gave them other columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from consumer.read_models import READ_MODELS, ReadModel
from consumer.read_models import customer_summary as customers
from consumer.read_models import fulfilment_queue as queue
from consumer.read_models import product_sales_daily as sales
from consumer.read_models.kinds import Type, columns
from consumer.reference import Row
from schemas.order import OrderState

Shares = Iterator[tuple[tuple[Any, ...], tuple[int, ...]]]


def with_cancelled(shares: Shares, order: OrderState) -> Shares:
    """An order's shares in its customer's sums, its revenue counted though it was cancelled."""
    for key, (*counts, _) in shares:
        yield key, (*counts, order.total - order.refunded)


class CustomerSummary(customers.CustomerSummary):
    """As it was once."""

    version = 0

    def contributions(self, order: OrderState) -> Shares:
        return with_cancelled(super().contributions(order), order)


def instead(*others: ReadModel) -> tuple[ReadModel, ...]:
    """The built-in read models, but for those of these names."""
    by_name = {model.name: model for model in others}
    return tuple(by_name.get(model.name, model) for model in READ_MODELS)


BEFORE = instead(CustomerSummary())  # a release that counted wrongly; the built-in ones are the mended one


class Variant(NamedTuple):
    """A read model with other columns, and what it makes of a row of the built-in one."""

    name: str
    model: ReadModel
    of: Callable[[Row], Row]

    @property
    def models(self) -> Sequence[ReadModel]:
        return instead(self.model)


def _document(name: str, of: Callable[[Row], Row], *removed: str, **types: Type) -> Variant:
    kept = [column for column in queue.FulfilmentQueue.values if column.name not in removed]

    class FulfilmentQueue(queue.FulfilmentQueue):
        version = 2
        values = (*kept, *columns(**types))

        def row(self, order: OrderState) -> Mapping[str, Any] | None:
            found = super().row(order)
            return None if found is None else of(dict(found))

    return Variant(name, FulfilmentQueue(), of)


def _without(name: str) -> Callable[[Row], Row]:
    return lambda row: {column: value for column, value in row.items() if column != name}


def _renamed(old: str, new: str) -> Callable[[Row], Row]:
    return lambda row: {new if column == old else column: value for column, value in row.items()}


def _sales(name: str, of: Callable[[Row], Row], **types: Type) -> Variant:
    class ProductSalesDaily(sales.ProductSalesDaily):
        version = 2
        values = columns(**types)

        def contributions(self, order: OrderState) -> Shares:
            right = sales.ProductSalesDaily.values
            for key, shares in super().contributions(order):
                row = of(dict(zip([column.name for column in right], shares, strict=True)))
                yield key, tuple(row[column.name] for column in self.values)

    return Variant(name, ProductSalesDaily(), of)


def _twice(row: Row) -> Row:
    return {**row, "twice": row["units"] * 2}


VARIANTS = (
    _document("document, column added", lambda row: {**row, "next": row["customer_id"]}, next=Type.TEXT),
    _document("document, column removed", _without("customer_name"), "customer_name"),
    _document("document, column renamed", _renamed("unit_count", "units"), "unit_count", units=Type.QUANTITY),
    _document("document, column of another type", lambda row: row, "unit_count", unit_count=Type.COUNT),
    _sales("sums, column added", _twice, orders=Type.COUNT, units=Type.QUANTITY, revenue=Type.MONEY, twice=Type.COUNT),
    _sales("sums, column removed", _without("orders"), units=Type.QUANTITY, revenue=Type.MONEY),
    _sales(
        "sums, column renamed", _renamed("units", "sold"), orders=Type.COUNT, sold=Type.QUANTITY, revenue=Type.MONEY
    ),
    _sales("sums, column of another type", lambda row: row, orders=Type.COUNT, units=Type.COUNT, revenue=Type.MONEY),
    _sales(
        "sums, columns in another order", lambda row: row, revenue=Type.MONEY, units=Type.QUANTITY, orders=Type.COUNT
    ),
)
