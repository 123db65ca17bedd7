"""What the shop's read model shows: in memory, in milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime

from testkit.events import Order, line
from testkit.specification import Specification

from .monthly_revenue import MonthlyRevenue

monthly_revenue = Specification(MonthlyRevenue())

JANUARY = {"month": "2026-01-01", "currency": "EUR", "orders": 1, "revenue": "10.00"}


def test_the_orders_of_a_month_add_up() -> None:
    tea = Order("o-1").placed(line("tea", 2, "6.25"))
    cup = Order("o-2").placed(line("cup", 1, "3.00"))
    late = Order("o-3", began=datetime(2026, 2, 28, tzinfo=UTC)).placed(line("pot", 1, "40.00"))
    monthly_revenue.when(tea, cup, late).then(
        {"month": "2026-01-01", "currency": "EUR", "orders": 2, "revenue": "15.50"},
        {"month": "2026-02-01", "currency": "EUR", "orders": 1, "revenue": "40.00"},
    )


def test_a_line_more_is_more_revenue() -> None:
    order = Order()
    monthly_revenue.given(
        order.placed(),
    ).when(
        order.line_added(line("cup", 1, "3.00")),
    ).then(
        {**JANUARY, "revenue": "13.00"},
    )


def test_a_refund_is_no_revenue() -> None:
    order = Order()
    monthly_revenue.given(
        order.placed(),
        order.payment_captured(),
    ).when(
        order.refunded("4.00"),
    ).then(
        {**JANUARY, "revenue": "6.00"},
    )


def test_a_cancelled_order_has_no_share() -> None:
    order = Order()
    monthly_revenue.given(order.placed()).when(order.cancelled()).then()


def test_an_erased_order_has_no_share() -> None:
    order = Order()
    monthly_revenue.given(order.placed()).when(order.erased()).then()
