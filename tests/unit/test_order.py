"""The fold: what each event makes of an order."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer import reference
from schemas import money
from schemas.errors import InvalidHistory
from schemas.order import OrderState, evolve, parse_lines
from tests.support.events import DATA, LINE, Row, at, decoded, event, placed, row
from tests.support.histories import histories

CUP = {"sku": "cup", "title": "Cup", "quantity": 1, "unit_price": "3"}
TIMES = {"confirmed": "confirmed_at", "payment_captured": "paid_at", "shipped": "shipped_at"}
TIMES |= {"delivered": "delivered_at", "cancelled": "cancelled_at"}


def order(*then: str | tuple[str, Any], given: Row | None = None) -> OrderState:
    """An order that was placed at version 1, and then …"""
    state = evolve(OrderState("o-1"), event("placed", 1, given or placed()))
    for version, step in enumerate(then, 2):
        name, data = step if isinstance(step, tuple) else (step, ...)
        state = evolve(state, event(name, version, data))
    return state


def paid(amount: str) -> tuple[str, Row]:
    return "payment_captured", {"payment_id": "p-1", "amount": amount}


def refunded(amount: str) -> tuple[str, Row]:
    return "refunded", {"amount": amount, "reason": "broken"}


def row_of(state: OrderState) -> Row:
    """What read_model.order_summary shows of a state."""
    found = dict(vars(state))
    del found["erased"]
    found |= {name: Decimal(money.text(found[name])) for name in ("total", "paid", "refunded")}
    found["lines"] = json.loads(state.lines)
    found["line_count"] = len(found["lines"])
    found["shipping_address"] = json.loads(state.shipping_address) if state.shipping_address is not None else None
    return found


def test_placing_sets_what_the_event_says_and_nothing_else() -> None:
    assert order() == OrderState(
        order_id="o-1",
        version=1,
        status="placed",
        customer_id="c-1",
        customer_name="Ada",
        currency="EUR",
        lines='[{"sku":"pen","title":null,"quantity":2,"unit_price":"12.50"}]',
        unit_count=2,
        total=250_000,
        placed_at=at(1),
        last_event_id="o-1-1",
        last_event_at=at(1),
    )


def test_email_and_address_are_kept_where_there_are_any() -> None:
    customer = {"id": "c-1", "name": "Ada", "email": "ada@example.com"}
    state = order(given=placed(customer=customer, shipping_address={"city": "Zürich"}))
    assert (state.customer_email, state.shipping_address) == ("ada@example.com", '{"city":"Zürich"}')
    assert order(("address_changed", {"shipping_address": {}})).shipping_address == "{}"


@pytest.mark.parametrize(
    ("then", "status"),
    [
        (["confirmed"], "confirmed"),
        ([paid("25")], "paid"),
        (["payment_failed"], "payment_failed"),
        (["shipped"], "shipped"),
        (["delivery_failed"], "delivery_failed"),
        (["delivered"], "delivered"),
        (["cancelled"], "cancelled"),
        (["delivered", paid("1")], "paid"),
        (["confirmed", "gift_wrapped", "address_changed", "line_added", "line_removed"], "confirmed"),
        ([paid("25"), refunded("24.9999")], "paid"),
        ([paid("25"), refunded("10"), refunded("15")], "refunded"),
        ([paid("25"), refunded("25.0001")], "refunded"),
        (["confirmed", refunded("0")], "refunded"),
        ([paid("25"), "cancelled", refunded("25")], "refunded"),
        ([paid("25"), "cancelled", refunded("5")], "cancelled"),
        ([refunded("5"), paid("1")], "paid"),
    ],
)
def test_the_last_event_that_names_a_status_decides(then: list[Any], status: str) -> None:
    assert order(*then).status == status


@pytest.mark.parametrize(("type_", "column"), TIMES.items())
def test_a_state_has_the_time_of_the_last_event_that_named_it(type_: str, column: str) -> None:
    twice = order(type_, "gift_wrapped", type_, "address_changed")
    assert getattr(twice, column) == at(4)
    others = set(TIMES.values()) - {column}
    assert all(getattr(twice, other) is None for other in others)
    assert (twice.last_event_at, twice.last_event_id, twice.version) == (at(5), "o-1-5", 5)


def test_what_was_shipped_and_why_it_was_cancelled_is_the_last_said() -> None:
    state = order("shipped", ("shipped", {"carrier": "DHL", "tracking_number": "T-2"}), "cancelled")
    assert (state.carrier, state.tracking_number, state.cancel_reason) == ("DHL", "T-2", "changed my mind")
    assert state.shipped_at == at(3)


def test_amounts_add_up_to_the_ten_thousandth() -> None:
    state = order(paid("0.0001"), paid("99999999999999.9999"), refunded("0.1"), refunded("0.2"))
    assert (state.paid, state.refunded) == (10**18, 3_000)
    assert state.total == 250_000


# Lines


@pytest.mark.parametrize("price", ["12.50", "12.5", "12.5000", "012.5"])
def test_the_same_sku_at_the_same_price_adds_to_that_line(price: str) -> None:
    state = order(("line_added", {"line": {**LINE, "title": "Pen", "unit_price": price, "quantity": 3}}))
    assert state.lines == '[{"sku":"pen","title":null,"quantity":5,"unit_price":"12.50"}]'
    assert (state.unit_count, state.total) == (5, 625_000)


@pytest.mark.parametrize("line", [{**LINE, "unit_price": "12.5001"}, CUP, {**LINE, "sku": "Pen"}])
def test_another_sku_or_price_is_a_line_at_the_end(line: Row) -> None:
    lines = parse_lines(order(("line_added", {"line": line})).lines)
    assert [(one.sku, one.unit_price) for one in lines] == [("pen", "12.50"), (line["sku"], line["unit_price"])]


def test_of_two_equal_lines_the_first_is_added_to() -> None:
    state = order(("line_added", {"line": LINE}), given=placed(LINE, CUP, LINE))
    assert [(line.sku, line.quantity) for line in parse_lines(state.lines)] == [("pen", 4), ("cup", 1), ("pen", 2)]


def test_removing_takes_every_line_of_the_sku_and_the_last_one_too() -> None:
    dearer = {**LINE, "unit_price": "13"}
    state = order(("line_removed", {"sku": "pen"}), given=placed(LINE, CUP, dearer))
    assert [line.sku for line in parse_lines(state.lines)] == ["cup"]
    empty = order(("line_removed", {"sku": "pen"}))
    assert (empty.lines, empty.unit_count, empty.total) == ("[]", 0, 0)
    assert order(("line_removed", {"sku": "none"})).total == 250_000


@pytest.mark.parametrize("quantity", [2**53 + 1, 2**63 - 1, 2**64, 10**30, 10**4000 - 1])
def test_quantities_beyond_64_bits_are_counted_to_the_last_one(quantity: int) -> None:
    huge = {"sku": "a", "title": "Ünit", "quantity": quantity, "unit_price": "99999999999999.9999"}
    state = order(("line_added", {"line": huge}), given=placed(huge))
    assert [line.quantity for line in parse_lines(state.lines)] == [2 * quantity]
    assert (state.unit_count, state.total) == (2 * quantity, 2 * quantity * (10**18 - 1))
    assert "Ünit" in state.lines
    assert money.text(state.total)


# What a history can't take


@pytest.mark.parametrize("type_", sorted(DATA.keys() - {"order.placed", "order.gift_wrapped"}))
def test_nothing_known_but_placing_can_happen_to_an_order_not_yet_placed(type_: str) -> None:
    for before in (OrderState("o-1"), evolve(OrderState("o-1"), event("gift_wrapped", 1))):
        with pytest.raises(InvalidHistory, match=f"{type_} at version {before.version + 1} .* not placed yet"):
            evolve(before, event(type_, before.version + 1))


def test_an_order_is_placed_once() -> None:
    with pytest.raises(InvalidHistory, match="already placed"):
        evolve(order(), event("placed", 2))


def test_an_unknown_type_moves_the_version_on_and_changes_nothing_else() -> None:
    state = evolve(OrderState("o-1"), event("gift_wrapped", 1))
    assert state == OrderState("o-1", version=1, last_event_id="o-1-1", last_event_at=at(1))
    later = evolve(state, event("placed", 2))
    assert (later.status, later.version, later.placed_at) == ("placed", 2, at(2))


def test_folding_leaves_the_state_before_as_it_was() -> None:
    before = order()
    copy = before.copy()
    evolve(before, event("line_added", 2))
    assert before == copy
    assert before is not copy


# Against the reference model


@settings(max_examples=100, deadline=None)
@given(histories())
def test_a_folded_history_shows_what_the_reference_model_shows(history: list[Row]) -> None:
    state = OrderState("o-1")
    for version, meant in enumerate(history, 1):
        state = evolve(state, decoded(meant))
        expected = reference.read_models({"o-1": history[:version]})["order_summary"]
        assert [row_of(state)] == expected if state.placed_at else expected == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(list(DATA)), max_size=6))
def test_the_fold_refuses_what_the_reference_model_refuses(types: list[str]) -> None:
    state, meant = OrderState("o-1"), []
    for number, type_ in enumerate(types):
        meant.append(row(type_, state.version + 1, id=f"e-{number}"))
        try:
            state = evolve(state, decoded(meant[-1]))
        except InvalidHistory:
            continue
    settled = reference.settle(map(reference.Event, meant))
    assert state.version == len(settled.applied.get("o-1", []))
    assert len(settled.dead) == len(types) - state.version
