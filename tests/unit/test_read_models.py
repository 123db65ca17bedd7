"""The stored read models: what is in them after these events, each delivered once, and then again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer import reference
from consumer.read_model_store import ProjectionFailed, ReadModelStore
from consumer.read_models import READ_MODELS, Contribution, Document, View
from consumer.read_models.kinds import Stored, Type, columns
from consumer.verdicts import Change
from schemas.events import Event, Tombstone
from schemas.order import OrderState
from testkit.tables import changes_any
from tests.support.events import LINE, Rec, Row, at, decoded, event, placed
from tests.support.histories import histories
from tests.support.tables import Tables, after

CUSTOMER = ("orders", "open_orders", "delivered_orders", "cancelled_orders", "revenue")


def story(*then: str | tuple[str, Row], order: str = "o-1", given: Row | None = None) -> list[Event]:
    """An order's events: placed, and then …"""
    told = [event("placed", 1, given or placed(), order=order)]
    for version, step in enumerate(then, 2):
        told.append(
            event(step, version, order=order)
            if isinstance(step, str)
            else event(step[0], version, step[1], order=order)
        )
    return told


def refund(amount: str) -> tuple[str, Row]:
    return "refunded", {"amount": amount, "reason": "broken"}


def pay(amount: str) -> tuple[str, Row]:
    return "payment_captured", {"payment_id": "p-1", "amount": amount}


# Customers

EUR = ("c-1", "EUR")


@pytest.mark.parametrize(
    ("then", "figures"),
    [
        ([], (1, 1, 0, 0, 250_000)),
        (["confirmed", "shipped"], (1, 1, 0, 0, 250_000)),
        (["delivered"], (1, 0, 1, 0, 250_000)),
        (["cancelled"], (1, 0, 0, 1, 0)),
        (["delivered", "cancelled"], (1, 0, 1, 1, 0)),
        ([pay("25"), refund("5")], (1, 1, 0, 0, 200_000)),
        ([pay("25"), refund("25")], (1, 0, 0, 0, 0)),
        ([pay("25"), "cancelled", refund("25")], (1, 0, 0, 1, 0)),
        ([pay("25"), refund("5"), "cancelled"], (1, 0, 0, 1, 0)),
        ([pay("25"), refund("25"), pay("25")], (1, 1, 0, 0, 0)),
        ([pay("25"), "delivered", refund("25")], (1, 0, 1, 0, 0)),
        ([pay("25"), refund("30")], (1, 0, 0, 0, -50_000)),
        (["line_added"], (1, 1, 0, 0, 280_000)),
        (["line_removed"], (1, 1, 0, 0, 0)),
        (["gift_wrapped", "address_changed", "payment_failed", "delivery_failed"], (1, 1, 0, 0, 250_000)),
    ],
)
def test_a_customers_figures(then: list[Any], figures: tuple[int, ...]) -> None:
    tables = after(*story(*then))
    assert tables.customers() == {EUR: figures}


def test_a_customers_orders_add_up_per_currency() -> None:
    dollars = story("delivered", order="o-3", given=placed(currency="USD"))
    tables = after(*story(), *story("cancelled", order="o-2"), *dollars)
    assert tables.customers() == {EUR: (2, 1, 0, 1, 250_000), ("c-1", "USD"): (1, 0, 1, 0, 250_000)}


# Products

DAY = date(2026, 1, 1)


def test_an_order_counts_once_for_a_sku_on_however_many_lines() -> None:
    lines = placed(LINE, {**LINE, "unit_price": "1"}, {"sku": "cup", "quantity": 1, "unit_price": "3"})
    tables = after(*story(given=lines), *story(order="o-2"))
    assert tables.products() == {("pen", DAY, "EUR"): (2, 6, 520_000), ("cup", DAY, "EUR"): (1, 1, 30_000)}


def test_a_line_removed_is_sold_no_more_and_added_again_it_is() -> None:
    assert after(*story("line_removed")).products() == {}
    tables = after(*story("line_removed", ("line_added", {"line": {**LINE, "quantity": 5}})))
    assert tables.products() == {("pen", DAY, "EUR"): (1, 5, 625_000)}


@pytest.mark.parametrize(
    "then", [["cancelled"], ["cancelled", refund("5")], ["cancelled", "line_added"], ["cancelled", "confirmed"]]
)
def test_a_cancelled_order_sells_nothing_whatever_comes_after(then: list[Any]) -> None:
    assert after(*story(*then)).products() == {}


def test_a_refund_takes_nothing_from_what_was_sold() -> None:
    assert after(*story(pay("25"), refund("25"))).products() == {("pen", DAY, "EUR"): (1, 2, 250_000)}


def test_the_day_is_that_of_placing_in_utc() -> None:
    early = event("placed", 1, time="2026-01-01T00:30:00+02:00")
    assert list(after(early, event("confirmed", 2)).products()) == [("pen", date(2025, 12, 31), "EUR")]


# The queue


@pytest.mark.parametrize(
    ("then", "ready_since"),
    [
        (["confirmed", pay("25")], 3),
        ([pay("25"), "confirmed"], 3),
        (["confirmed", pay("24.9999")], None),
        (["confirmed", pay("24.9999"), pay("0.0001")], 4),
        ([pay("25")], None),
        (["confirmed"], None),
        (["confirmed", "line_removed"], 2),
        (["confirmed", pay("25"), "line_added"], None),
        (["confirmed", pay("25"), "line_added", pay("3")], 5),
        (["confirmed", pay("25"), "payment_failed"], 3),
        (["confirmed", pay("25"), refund("25")], 3),
        (["confirmed", pay("25"), "shipped"], None),
        (["confirmed", pay("25"), "cancelled"], None),
        (["confirmed", pay("25"), "delivered"], 3),
        (["confirmed", pay("25"), "gift_wrapped", "confirmed"], 5),
    ],
)
def test_an_order_is_in_the_queue_from_confirmed_and_paid_until_shipped_or_cancelled(
    then: list[Any], ready_since: int | None
) -> None:
    rows = after(*story(*then)).queue()
    assert {order: row[-1] for order, row in rows.items()} == ({"o-1": at(ready_since)} if ready_since else {})


def test_a_row_of_the_queue_follows_its_order() -> None:
    tables = after(*story("confirmed", pay("30"), "line_added"))
    assert tables.queue() == {"o-1": ("c-1", "Ada", 3, 280_000, "EUR", at(3))}
    delta = tables.take(event("shipped", 5))
    assert [(part.rows, part.removed) for part in delta.documents] == [([], ["o-1"])]
    assert tables.queue() == {}


# Erasure


def test_an_erased_order_gives_up_its_share_of_everything() -> None:
    tables = after(*story("confirmed", pay("25")), *story(order="o-2"))
    tables.take(Tombstone("o-1", Rec()))
    assert (tables.customers(), tables.queue()) == ({EUR: (1, 1, 0, 0, 250_000)}, {})
    assert tables.products() == {("pen", DAY, "EUR"): (1, 2, 250_000)}
    assert not changes_any(tables.take(*story("confirmed", pay("25"))))


def test_an_order_placed_and_erased_in_one_batch_leaves_nothing() -> None:
    tables = Tables()
    assert not changes_any(tables.take(event(), Tombstone("o-1", Rec())))


# All of it against the reference model


@settings(max_examples=60, deadline=None)
@given(histories("o-1", 6), histories("o-2", 6), st.randoms(use_true_random=False))
def test_any_histories_in_any_order_add_up_to_the_reference_models_rows(
    one: list[Row], other: list[Row], rng: Any
) -> None:
    meant = [*one, *other]
    rng.shuffle(meant)
    tables = Tables()
    for at_ in range(0, len(meant), 3):
        tables.take(*map(decoded, meant[at_ : at_ + 3]))
    expected = reference.read_models({"o-1": one, "o-2": other})
    assert tables.customers() == {
        (row["customer_id"], row["currency"]): (*(row[name] for name in CUSTOMER[:-1]), units(row["revenue"]))
        for row in expected["customer_summary"]
    }
    assert tables.products() == {
        (row["sku"], row["day"], row["currency"]): (row["orders"], row["units"], units(row["revenue"]))
        for row in expected["product_sales_daily"]
    }
    queue = {row["order_id"]: row for row in expected["fulfilment_queue"]}
    assert {order: (row[2], row[3], row[5]) for order, row in tables.queue().items()} == {
        order: (row["unit_count"], units(row["total"]), row["ready_since"]) for order, row in queue.items()
    }


def units(amount: Decimal) -> int:
    return int(amount.scaleb(4, reference.EXACT))


# Declarations, and failures


def test_a_read_model_reads_nothing_but_what_it_says_it_depends_on() -> None:
    for model in (model for model in READ_MODELS if isinstance(model, Stored)):
        seen = _Watched(OrderState("o-1", status="placed", placed_at=at(1), confirmed_at=at(2), lines="[]"))
        consumed = model.row(seen) if isinstance(model, Document) else list(model.contributions(seen))  # type: ignore[arg-type,attr-defined]  # a stand-in
        assert consumed is not None
        fixed = {"order_id", "customer_id", "customer_name", "currency", "placed_at"}  # never change once placed
        assert seen.names - fixed <= set(model.depends_on)


class _Watched:
    def __init__(self, state: OrderState) -> None:
        self._state, self.names = state, set[str]()

    def __getattr__(self, name: str) -> Any:
        self.names.add(name)
        return getattr(self._state, name)


class _Breaks(Document):
    name, version = "breaks", 1
    keys, values, depends_on = columns(order_id=Type.TEXT), columns(x=Type.TEXT), ("version",)

    def row(self, order: OrderState) -> Row | None:
        raise KeyError(order.customer_name)


class _BreaksLate(Contribution):
    name, version = "breaks_late", 1
    keys, values, depends_on = columns(x=Type.TEXT), columns(n=Type.COUNT), ("version",)

    def contributions(self, order: OrderState) -> Iterator[tuple[tuple[Any, ...], tuple[int, ...]]]:
        yield (order.currency,), (1,)
        raise ValueError(order.customer_name)


@pytest.mark.parametrize(("model", "kind"), [(_Breaks(), "KeyError"), (_BreaksLate(), "ValueError")])
def test_a_failure_says_where_but_not_what(model: Stored, kind: str) -> None:
    state = OrderState("o-1", version=1, customer_name="Ada Secret", placed_at=datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(ProjectionFailed) as failure:
        ReadModelStore([model]).derive([Change(OrderState("o-1"), state)])
    assert f"read model {model.name}: {kind} at test_read_models.py:" in str(failure.value)
    assert "Ada" not in str(failure.value)


def test_a_row_that_comes_out_the_same_is_not_written_again() -> None:
    tables = after(*story("confirmed", pay("25")))
    late = event("payment_captured", 4, {"payment_id": "p-2", "amount": "1"}, time="2026-01-01T12:03:00Z")
    assert [part.rows for part in tables.take(late).documents] == [[]]
    assert tables.books.orders["o-1"].paid == 260_000


@pytest.mark.parametrize(
    ("name", "fingerprint"),
    [
        ("order_summary", "664d4592867321eb"),
        ("order_timeline", "f5e0bfa744e4bd25"),
        ("customer_summary", "2e935f1ecd23212a"),
        ("product_sales_daily", "e5fdfd78b4f20c3a"),
        ("fulfilment_queue", "1edca66dedf87495"),
    ],
)
def test_a_fingerprint_stays_as_long_as_the_read_model_does(name: str, fingerprint: str) -> None:
    """Databases have these: another one for the same make would stop their workers."""
    assert {model.name: model.fingerprint for model in READ_MODELS}[name] == fingerprint


def test_views_and_orders_not_placed_have_nothing_to_store() -> None:
    stub = Change(OrderState("o-1"), OrderState("o-1", version=1))
    delta = ReadModelStore([View("order_summary", 1), _Breaks()]).derive([stub])
    assert not changes_any(delta)
    assert [part.model.name for part in delta.documents] == ["breaks"]
