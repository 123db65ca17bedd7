"""What events mean for a read model: asked of the reference model, for built-in and for others' read models."""

from __future__ import annotations

from decimal import Decimal

import pytest

from consumer import reference
from consumer.read_models import View
from consumer.read_models.customer_summary import CustomerSummary
from consumer.read_models.fulfilment_queue import FulfilmentQueue
from consumer.read_models.kinds import Contribution, Document, Stored
from consumer.read_models.product_sales_daily import ProductSalesDaily
from testkit.events import Event, Order, line, some_orders
from testkit.rows import Row
from testkit.story import Story


class Customers(CustomerSummary):
    name = "somebodys_customers"


class Products(ProductSalesDaily):
    name = "somebodys_products"


class Queue(FulfilmentQueue):
    name = "somebodys_queue"


PAIRS = [("customer_summary", Customers()), ("product_sales_daily", Products()), ("fulfilment_queue", Queue())]


def figures(rows: list[Row], model: Contribution | Document) -> list[Row]:
    """The columns that the function itself gives, of rows that aren't all zero."""
    columns = [column.name for column in (*model.keys, *model.values)]
    values = [column.name for column in model.values]
    return [{name: row[name] for name in columns} for row in rows if any(row[name] for name in values)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("built_in", "theirs"), PAIRS)
def test_a_read_model_of_ones_own_is_judged_as_the_built_in_one_like_it(
    built_in: str, theirs: Contribution | Document, seed: int
) -> None:
    story = Story([*some_orders(40, seed), *big_numbers()])
    found, key = story.expected(theirs)
    expected, _ = story.expected(built_in)
    assert list(key) == list(reference.KEYS[built_in])
    assert found
    assert not reference.compare(figures(expected, theirs), found, key)


def big_numbers() -> list[Event]:
    big, free = Order("big"), Order("free")
    return [
        big.placed(line("tea", 10**40 + 1, "99999999999999.9999")),
        big.payment_captured("99999999999999.9999"),
        free.placed(line("tea", 10**40 + 1, "0")),
        free.confirmed(),
    ]


def test_the_orders_behind_a_row_are_found() -> None:
    events = [Order("o-1").placed(customer="c-1"), Order("o-2").placed(customer="c-2", currency="USD")]
    story = Story(events)
    assert story.behind("order_summary", ("o-2",)) == ["o-2"]
    assert story.behind("order_timeline", ("o-1", 1)) == ["o-1"]
    assert story.behind("customer_summary", ("c-2", "USD")) == ["o-2"]
    assert story.behind(Customers(), ("c-1", "EUR")) == ["o-1"]
    assert story.behind("customer_summary", ("nobody", "EUR")) == []


def test_a_history_has_each_event_once_in_its_turn() -> None:
    order = Order()
    placed, confirmed = order.placed(), order.confirmed()
    found = Story([confirmed, placed, confirmed, Order("o-2").placed()]).history("o-1")
    assert [event["id"] for event in found] == ["o-1-1", "o-1-2"]


def test_an_erased_order_has_no_rows() -> None:
    order = Order()
    story = Story([order.placed(), order.erased()])
    assert all(story.expected(name)[0] == [] for name in reference.KEYS)
    assert story.expected(Customers())[0] == []


def test_times_and_numbers_may_be_written_as_producers_do() -> None:
    event = {**Order().placed(line("tea", 1, "1.10")), "sequence": "1"}
    [row] = Story([event]).expected("order_summary")[0]
    assert (row["version"], row["total"]) == (1, Decimal("1.1"))


@pytest.mark.parametrize("unknown", ["no_such_read_model", View("somebodys_view", version=1)])
def test_what_nobody_knows_the_rows_of_is_refused(unknown: str | Stored) -> None:
    with pytest.raises(TypeError, match="nobody knows its rows"):
        Story([]).expected(unknown)
