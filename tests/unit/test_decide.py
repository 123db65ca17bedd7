"""What a command does to an order in each state, and that the fold takes whatever is decided."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer import order_json
from producer.order import Command, Refusal, decide
from schemas import money
from schemas.order import OrderState, evolve
from tests.support import commands
from tests.support.commands import event, place

PLACE = place(sku="a")
DATA = {**commands.DATA, "place": PLACE}


def done(state: OrderState, kind: Any, data: Any = ...) -> OrderState | Refusal:
    """The state after a command, by way of the very rows that go out."""
    decided = decide(Command(kind, state.order_id, DATA[kind] if data is ... else data), state)
    if isinstance(decided, Refusal):
        return decided
    for new in decided:
        state = evolve(state, event(state.order_id, state.version + 1, new.type, new.data))
    return state


def after(*kinds: str) -> OrderState:
    state = OrderState("o-1")
    for kind in kinds:
        found = done(state, kind)
        assert isinstance(found, OrderState), (kind, found)
        state = found
    return state


PAID = ("place", "confirm", "pay")
SHIPPED = (*PAID, "ship")

ALLOWED: dict[tuple[str, ...], set[str]] = {
    (): {"place"},
    ("place",): {"add_line", "change_address", "confirm", "cancel"},
    ("place", "add_line"): {"add_line", "remove_line", "change_address", "confirm", "cancel"},
    ("place", "confirm"): {"change_address", "pay", "fail_payment", "cancel"},
    ("place", "confirm", "fail_payment"): {"change_address", "pay", "fail_payment", "cancel"},
    PAID: {"change_address", "ship", "cancel"},
    SHIPPED: {"fail_delivery", "deliver"},
    (*SHIPPED, "fail_delivery"): {"change_address", "ship", "cancel", "refund"},
    (*SHIPPED, "deliver"): {"refund"},
    ("place", "cancel"): set(),
    (*PAID, "cancel"): {"refund"},
    (*PAID, "cancel", "refund"): set(),
}


@pytest.mark.parametrize("history", ALLOWED, ids=lambda history: "-".join(history) or "nothing")
def test_a_state_takes_these_commands_and_no_others(history: tuple[str, ...]) -> None:
    state = after(*history)
    assert {kind for kind in DATA if isinstance(done(state, kind), OrderState)} == ALLOWED[history]


@pytest.mark.parametrize(
    ("history", "kind", "reason"),
    [
        ((), "confirm", "not_found"),
        (("place",), "place", "exists"),
        (("place",), "pay", "not_confirmed"),
        (("place",), "remove_line", "no_such_line"),
        (("place", "confirm"), "ship", "not_paid"),
        (("place", "confirm"), "add_line", "confirmed"),
        (PAID, "pay", "paid"),
        (SHIPPED, "cancel", "shipped"),
        (SHIPPED, "refund", "not_ended"),
        (("place", "cancel"), "confirm", "cancelled"),
        ((*SHIPPED, "deliver"), "ship", "delivered"),
    ],
)
def test_a_refusal_says_why(history: tuple[str, ...], kind: str, reason: str) -> None:
    found = done(after(*history), kind)
    assert isinstance(found, Refusal)
    assert found.reason == reason


def test_an_order_keeps_its_last_line() -> None:
    found = done(after("place"), "remove_line", {"sku": "a"})
    assert isinstance(found, Refusal)
    assert found.reason == "last_line"


@pytest.mark.parametrize(("amount", "fits"), [("0", False), ("5", True), ("20", True), ("20.0001", False)])
def test_money_is_taken_up_to_what_is_due_and_given_back_up_to_what_was_paid(amount: str, fits: bool) -> None:
    paid = done(after("place", "confirm"), "pay", {"payment_id": "p", "amount": amount})
    assert isinstance(paid, OrderState) == fits
    refunded = done(after(*PAID, "cancel"), "refund", {"amount": amount, "reason": "r"})
    assert isinstance(refunded, OrderState) == fits


def test_an_order_can_be_paid_in_parts_and_ships_only_when_it_is_paid_in_full() -> None:
    part = done(after("place", "confirm"), "pay", {"payment_id": "p", "amount": "5"})
    assert isinstance(part, OrderState)
    assert isinstance(done(part, "ship"), Refusal)
    rest = done(part, "pay", {"payment_id": "q", "amount": "15"})
    assert isinstance(rest, OrderState)
    assert isinstance(done(rest, "ship"), OrderState)


def test_an_order_of_no_value_is_paid_with_nothing_once() -> None:
    state = done(OrderState("o-1"), "place", {**PLACE, "lines": [{"sku": "a", "quantity": 1, "unit_price": "0"}]})
    assert isinstance(state, OrderState)
    state = done(state, "confirm")
    assert isinstance(state, OrderState)
    assert isinstance(done(state, "ship"), Refusal)
    state = done(state, "pay", {"payment_id": "p", "amount": "0"})
    assert isinstance(state, OrderState)
    assert isinstance(done(state, "pay", {"payment_id": "p", "amount": "0"}), Refusal)
    assert isinstance(done(state, "ship"), OrderState)


@given(st.lists(st.sampled_from(sorted(DATA)), max_size=25), st.integers(1, 10**30))
def test_any_commands_leave_a_history_that_the_fold_takes_and_a_state_that_comes_back_as_it_was(
    kinds: list[str], quantity: int
) -> None:
    state = OrderState("o-1")
    lines = [{"sku": "a", "quantity": quantity, "unit_price": "0.1"}, {"sku": "b", "quantity": 1, "unit_price": "0.9"}]
    for kind in ["place", *kinds]:
        data = {**PLACE, "lines": lines} if kind == "place" else DATA[kind]
        if kind in ("pay", "refund"):
            left = state.total - state.paid if kind == "pay" else state.paid - state.refunded
            data = {**data, "amount": money.text(min(max(left, 0), 10**18 - 1))}
        found = done(state, kind, data)
        if isinstance(found, OrderState):
            assert found.version == state.version + 1
            assert found.refunded <= found.paid <= found.total or kind == "remove_line"
            state = found
        assert order_json.load(order_json.dump(state)) == state
