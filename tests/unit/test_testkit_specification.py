"""given / when / then: what passes, what doesn't, and what is said then."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import pytest

from consumer.read_model_store import ProjectionFailed
from consumer.read_models import Document, View
from consumer.read_models.customer_summary import CustomerSummary
from consumer.read_models.fulfilment_queue import FulfilmentQueue
from consumer.read_models.kinds import Contribution, Type, columns
from consumer.read_models.product_sales_daily import ProductSalesDaily
from consumer.verdicts import judge
from schemas.order import OrderState
from testkit.books import Books
from testkit.events import Event, Order, line
from testkit.specification import Specification


class Revenue(Contribution):
    """Per currency, and how many orders are shipped."""

    name = "revenue"
    version = 1
    keys = columns(currency=Type.TEXT)
    values = columns(shipped=Type.COUNT, revenue=Type.MONEY)
    depends_on: tuple[str, ...] = ("total", "shipped_at")

    def contributions(self, order: OrderState) -> Iterator[tuple[tuple[Any, ...], tuple[int, ...]]]:
        yield (order.currency,), (order.shipped_at is not None, order.total)


class Parcels(Document):
    """Where each shipped order is."""

    name = "parcels"
    version = 1
    keys = columns(order_id=Type.TEXT)
    values = columns(carrier=Type.TEXT, shipped_at=Type.TIMESTAMP)
    depends_on = ("carrier", "shipped_at", "delivered_at")

    def row(self, order: OrderState) -> Mapping[str, Any] | None:
        if order.shipped_at is None or order.delivered_at is not None:
            return None
        return {"carrier": order.carrier, "shipped_at": order.shipped_at}


TEN = {"currency": "EUR", "shipped": 0, "revenue": "10.00"}


def life() -> tuple[Event, ...]:
    order = Order()
    return order.placed(), order.shipped(), order.delivered()


def refusal(specification: Specification, *rows: Mapping[str, Any]) -> str:
    with pytest.raises(AssertionError) as caught:
        specification.then(*rows)
    return str(caught.value)


def test_sums_over_orders() -> None:
    placed, shipped, _ = life()
    other = Order("o-2").placed(line("cup", 3, "0.0001"))
    Specification(Revenue()).given(placed, other).when(shipped).then(
        {"currency": "EUR", "shipped": 1, "revenue": "10.0003"}
    )


def test_a_row_comes_and_goes() -> None:
    placed, shipped, delivered = life()
    parcels = Specification(Parcels())
    parcels.given(placed).then()
    parcels.given(placed).when(shipped).then(
        {"order_id": "o-1", "carrier": "Post", "shipped_at": "2026-01-01T13:02:00+01:00"}
    )
    parcels.given(placed, shipped).when(delivered).then()


def test_one_start_may_have_many_ends() -> None:
    order = Order()
    placed = Specification(Revenue()).given(order.placed())
    added = order.line_added(line("cup", 1, "2"))
    placed.when(added).then({**TEN, "revenue": 12})
    placed.then(TEN)


def test_rows_may_be_named_in_any_order_and_amounts_in_any_form() -> None:
    orders = Order("o-1").placed(), Order("o-2").placed(currency="USD")
    Specification(Revenue()).when(*orders).then({**TEN, "currency": "USD", "revenue": 10}, {**TEN, "revenue": "10"})


@pytest.mark.parametrize("model", [CustomerSummary(), ProductSalesDaily()])
def test_an_erased_order_has_no_share_in_the_built_in_sums(model: Contribution) -> None:
    order = Order()
    Specification(model).given(order.placed()).when(order.erased()).then()


def test_the_built_in_queue() -> None:
    order = Order()
    queue = Specification(FulfilmentQueue()).given(order.placed(), order.confirmed())
    queue.then()
    queue.when(order.payment_captured()).then(
        {
            "order_id": "o-1",
            "customer_id": "c-1",
            "customer_name": "Customer c-1",
            "unit_count": 1,
            "total": "10",
            "currency": "EUR",
            "ready_since": "2026-01-01T12:03:00Z",
        }
    )


def test_a_difference_is_shown_as_a_table() -> None:
    said = refusal(Specification(Revenue()).given(*life()[:2]), TEN, {**TEN, "currency": "USD"})
    assert said.splitlines() == [
        "revenue after order.placed (o-1-1), order.shipped (o-1-2):",
        "   currency  shipped  revenue",
        "-  EUR       0        10",
        "+  EUR       1        10",
        "-  USD       0        10",
        "(-: expected, not there; +: there, not expected)",
    ]


def test_a_row_that_nobody_named_is_a_difference() -> None:
    assert "+  EUR" in refusal(Specification(Revenue()).when(life()[0]))


def test_a_row_that_is_named_twice_has_to_be_there_twice() -> None:
    said = refusal(Specification(Revenue()).when(life()[0]), TEN, TEN)
    assert [line[0] for line in said.splitlines()[2:-1]] == ["-"]


class Striking(Revenue):
    """Looks at a clock."""

    hour = 0

    def contributions(self, order: OrderState) -> Iterator[tuple[tuple[Any, ...], tuple[int, ...]]]:
        yield (order.currency,), (self.hour, order.total)


@pytest.mark.parametrize("strikes", range(4))
def test_a_clock_that_strikes_between_two_ways_is_found(monkeypatch: pytest.MonkeyPatch, strikes: int) -> None:
    whole, played = Specification._play, count()

    def play(self: Specification, batches: Any) -> Any:
        monkeypatch.setattr(Striking, "hour", int(next(played) == strikes))
        return whole(self, batches)

    monkeypatch.setattr(Specification, "_play", play)
    said = refusal(Specification(Striking()).given(life()[0]).when(life()[1]), TEN)
    way = ("one at a time", "in batches", "in one batch", "the last first")[strikes]
    assert said.startswith(f"revenue after order.placed (o-1-1), order.shipped (o-1-2), {way}:\n")


class Forgetful(Revenue):
    depends_on = ("total",)


def test_a_field_that_is_missing_in_depends_on_is_found() -> None:
    placed, shipped, _ = life()
    said = refusal(Specification(Forgetful()).given(placed).when(shipped), {**TEN, "shipped": 1})
    assert "one at a time" in said
    assert "missing in depends_on" in said


class Counting(Revenue):
    """Not pure."""

    def __init__(self) -> None:
        self.calls = count(1)

    def contributions(self, order: OrderState) -> Iterator[tuple[tuple[Any, ...], tuple[int, ...]]]:
        yield (order.currency,), (next(self.calls), order.total)


def test_a_function_that_looks_at_anything_but_the_order_is_found() -> None:
    assert "anything but the order" in refusal(Specification(Counting()).when(*life()), TEN)


def test_a_worker_that_counts_a_second_delivery_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Books, "take", lambda self, batch: judge(batch, {}, {}, set()))  # nothing is remembered
    assert "a second delivery changed rows" in refusal(Specification(Revenue()).when(life()[0]), TEN)


class Broken(Revenue):
    def contributions(self, order: OrderState) -> Iterator[tuple[tuple[Any, ...], tuple[int, ...]]]:
        raise KeyError("reason")


def test_a_function_that_raises_is_seen_with_the_story_it_raised_on() -> None:
    with pytest.raises(ProjectionFailed, match="KeyError") as caught:
        Specification(Broken()).when(*life()).then()
    assert isinstance(caught.value.__cause__, KeyError)
    assert "order.placed (o-1-1)" in caught.value.__notes__[0]


@pytest.mark.parametrize("wrong", ["2026-01-01", 1.5, None])
def test_a_value_that_the_column_cannot_hold_is_found(wrong: Any) -> None:
    class Mistyped(Revenue):
        def contributions(self, order: OrderState) -> Iterator[tuple[tuple[Any, ...], tuple[int, ...]]]:
            yield (order.currency,), (wrong, order.total)

    with pytest.raises((TypeError, ProjectionFailed)):
        Specification(Mistyped()).when(life()[0]).then(TEN)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"currency": "EUR", "revenue": 1}, "has the columns currency, shipped, revenue"),
        ({**TEN, "extra": 1}, "this one has currency, shipped, revenue, extra"),
    ],
)
def test_a_row_has_all_columns_and_no_other(row: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        Specification(Revenue()).when(life()[0]).then(row)


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ((life()[1],), "waits for a version before 2"),
        ((Order().confirmed(),), "on an order that is not placed yet"),
        ((life()[0], {**Order().placed(), "id": "other"}), "version 1 of this order is taken"),
        (({**life()[0], "time": "soon"},), "no event of the contract: time"),
    ],
)
def test_a_story_that_no_order_can_have_is_a_slip_of_the_test(events: tuple[Event, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Specification(Revenue()).given(*events).then()


def test_a_view_cannot_be_specified_without_a_database() -> None:
    with pytest.raises(TypeError, match="a view"):
        Specification(View("order_summary", version=1))
