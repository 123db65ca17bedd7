"""What a command does to an order: `decide(command, state)` gives events, or a refusal that says why.

Pure. The fold of what is decided is `schemas.order.evolve`, the same that makes the read models. The life cycle:

    place → confirm → pay (in one or more parts) → ship → deliver
      lines change until the order is confirmed, the address until it is shipped
      a payment may fail and be tried again; so may a delivery, after which it is shipped again
      cancel until it is on its way or delivered; refund what was paid, of an order that has come to its end
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from schemas import money
from schemas.order import OrderState, parse_lines

Kind = Literal[
    "place",
    "add_line",
    "remove_line",
    "change_address",
    "confirm",
    "pay",
    "fail_payment",
    "ship",
    "fail_delivery",
    "deliver",
    "cancel",
    "refund",
]

EVENT_OF: dict[str, str] = {
    "place": "order.placed",
    "add_line": "order.line_added",
    "remove_line": "order.line_removed",
    "change_address": "order.address_changed",
    "confirm": "order.confirmed",
    "pay": "order.payment_captured",
    "fail_payment": "order.payment_failed",
    "ship": "order.shipped",
    "fail_delivery": "order.delivery_failed",
    "deliver": "order.delivered",
    "cancel": "order.cancelled",
    "refund": "order.refunded",
}
assert {*EVENT_OF} == {*get_args(Kind)}


@dataclass(frozen=True)
class Command:
    """What somebody wants done to an order. `data` is that of the event which it becomes (schemas.events), validated;
    None for those without."""

    kind: Kind
    order_id: str
    data: Mapping[str, Any] | None = None


class Decided(NamedTuple):
    """An event that has no id, version and time yet."""

    type: str
    data: Mapping[str, Any] | None


@dataclass(frozen=True)
class Refusal:
    """The order's state forbids it. `reason` is one of a fixed set; `why` is for a person, nothing personal in it."""

    reason: str
    why: str


class _Forbidden(Exception):
    def __init__(self, reason: str, why: str) -> None:
        super().__init__(why)
        self.refusal = Refusal(reason, why)


def decide(command: Command, state: OrderState) -> list[Decided] | Refusal:
    """The events that the command makes of an order in this state (of version 0: of one that isn't there yet)."""
    try:
        _check(command, state)
    except _Forbidden as forbidden:
        return forbidden.refusal
    return [Decided(EVENT_OF[command.kind], command.data)]


def _check(command: Command, state: OrderState) -> None:
    if state.erased:
        raise _Forbidden("erased", "the order was erased")
    if command.kind == "place":
        if state.version:
            raise _Forbidden("exists", "the order was placed already")
        return
    if state.placed_at is None:
        raise _Forbidden("not_found", "there is no such order")
    if command.kind != "refund":
        _is_open(state)
    _RULES[command.kind](state, command.data or {})


def _is_open(state: OrderState) -> None:
    if state.cancelled_at is not None:
        raise _Forbidden("cancelled", "the order is cancelled")
    if state.delivered_at is not None:
        raise _Forbidden("delivered", "the order is delivered")


def _not_confirmed(state: OrderState) -> None:
    if state.confirmed_at is not None:
        raise _Forbidden("confirmed", "the order is confirmed")


def _confirmed(state: OrderState) -> None:
    if state.confirmed_at is None:
        raise _Forbidden("not_confirmed", "the order is not confirmed")


def _on_its_way(state: OrderState) -> None:
    if state.status != "shipped":
        raise _Forbidden("not_shipped", "the order is not on its way")


def _not_on_its_way(state: OrderState) -> None:
    if state.status == "shipped":
        raise _Forbidden("shipped", "the order is on its way")


def _add_line(state: OrderState, _: Mapping[str, Any]) -> None:
    _not_confirmed(state)


def _remove_line(state: OrderState, data: Mapping[str, Any]) -> None:
    _not_confirmed(state)
    skus = {line.sku for line in parse_lines(state.lines)}
    if data["sku"] not in skus:
        raise _Forbidden("no_such_line", "the order has no line of this sku")
    if len(skus) == 1:
        raise _Forbidden("last_line", "an order keeps at least one line: cancel it instead")


def _change_address(state: OrderState, _: Mapping[str, Any]) -> None:
    _not_on_its_way(state)


def _confirm(state: OrderState, _: Mapping[str, Any]) -> None:
    _not_confirmed(state)


def _pay(state: OrderState, data: Mapping[str, Any]) -> None:
    _confirmed(state)
    amount = money.units(data["amount"])
    due = state.total - state.paid
    if due <= 0 and state.total:
        raise _Forbidden("paid", "the order is paid in full")
    if amount > due or (amount == 0 and state.total):
        raise _Forbidden("wrong_amount", f"{money.text(due)} is due")
    if amount == 0 and state.paid_at is not None:
        raise _Forbidden("paid", "the order is paid in full")


def _fail_payment(state: OrderState, _: Mapping[str, Any]) -> None:
    _confirmed(state)
    if _is_paid(state):
        raise _Forbidden("paid", "the order is paid in full")


def _ship(state: OrderState, _: Mapping[str, Any]) -> None:
    _confirmed(state)
    _not_on_its_way(state)
    if not _is_paid(state):
        raise _Forbidden("not_paid", f"{money.text(state.total - state.paid)} is due")
    if state.refunded:
        raise _Forbidden("refunded", "money of the order was given back")


def _fail_delivery(state: OrderState, _: Mapping[str, Any]) -> None:
    _on_its_way(state)


def _deliver(state: OrderState, _: Mapping[str, Any]) -> None:
    _on_its_way(state)


def _cancel(state: OrderState, _: Mapping[str, Any]) -> None:
    _not_on_its_way(state)


def _refund(state: OrderState, data: Mapping[str, Any]) -> None:
    if state.cancelled_at is None and state.delivered_at is None and state.status != "delivery_failed":
        raise _Forbidden("not_ended", "only of an order that is cancelled, delivered or could not be delivered")
    left = state.paid - state.refunded
    if not 0 < money.units(data["amount"]) <= left:
        raise _Forbidden("wrong_amount", f"{money.text(left)} can be given back")


def _is_paid(state: OrderState) -> bool:
    return state.paid_at is not None and state.paid >= state.total


_RULES: dict[str, Callable[[OrderState, Mapping[str, Any]], None]] = {
    "add_line": _add_line,
    "remove_line": _remove_line,
    "change_address": _change_address,
    "confirm": _confirm,
    "pay": _pay,
    "fail_payment": _fail_payment,
    "ship": _ship,
    "fail_delivery": _fail_delivery,
    "deliver": _deliver,
    "cancel": _cancel,
    "refund": _refund,
}
