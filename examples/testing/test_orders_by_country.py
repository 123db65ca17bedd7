"""What the shop's read model shows: in memory, in milliseconds."""

from __future__ import annotations

from examples.adding_a_read_model.orders_by_country import OrdersByCountry
from testkit.events import Order, line
from testkit.specification import Specification

orders_by_country = Specification(OrdersByCountry())


def test_orders_to_one_country_add_up() -> None:
    tea = Order("o-1").placed(line("tea", 2, "6.25"), address={"country": "NL"})
    cup = Order("o-2").placed(line("cup", 1, "3.00"), address={"country": "nl"})
    orders_by_country.when(tea, cup).then({"country": "NL", "currency": "EUR", "orders": 2, "revenue": "15.50"})


def test_a_share_moves_with_the_address() -> None:
    order = Order()
    orders_by_country.given(
        order.placed(address={"country": "NL"}),
    ).when(
        order.address_changed(country="FR"),
    ).then(
        {"country": "FR", "currency": "EUR", "orders": 1, "revenue": "10.00"},
    )


def test_a_refund_is_no_revenue() -> None:
    order = Order()
    orders_by_country.given(
        order.placed(address={"country": "NL"}),
        order.payment_captured(),
    ).when(
        order.refunded("4.00"),
    ).then(
        {"country": "NL", "currency": "EUR", "orders": 1, "revenue": "6.00"},
    )


def test_a_cancelled_order_has_no_share() -> None:
    order = Order()
    orders_by_country.given(order.placed(address={"country": "NL"})).when(order.cancelled()).then()


def test_an_erased_order_has_no_share() -> None:
    order = Order()
    orders_by_country.given(order.placed(address={"country": "NL"})).when(order.erased()).then()
