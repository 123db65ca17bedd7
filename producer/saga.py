"""Fulfilment as a process: (where it stands, what happened) → (where it stands then, commands, a timer).

Pure: the runner gives it every event of an order once, in version order, and each timer that falls due. It undoes what
can't be completed, and what it does is published like anything else:

    confirmed          → waits for the payment, so long at most
    payment fails      → cancel
    payment is late    → cancel
    delivery fails     → ships again; for the nth time: cancel
    cancelled          → what was paid is given back
    delivered, or cancelled and nothing left to give back → ended

The terms are Garcia-Molina and Salem's ("Sagas", 1987): a saga's completed steps are compensated by others, since they
are committed and seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from producer.order import Command
from schemas import money
from schemas.events import Event
from schemas.order import OrderState, evolve

NAME = "fulfilment"

Stage = Literal["open", "awaiting_payment", "awaiting_shipment", "in_delivery", "compensating", "ended"]

PAYMENT_DUE = "payment_due"


class Timer(NamedTuple):
    name: str
    due_at: datetime


class Terms(NamedTuple):
    """What is settled for all orders."""

    payment_timeout: timedelta
    delivery_attempts: int


@dataclass(frozen=True)
class Saga:
    """Where the process of one order stands. `order` is the fold of its events, without what is personal."""

    order: OrderState
    stage: Stage = "open"
    failed_deliveries: int = 0
    timer: Timer | None = None


class Step(NamedTuple):
    """What follows: the saga as it is then, and what it wants done."""

    saga: Saga
    commands: list[Command]


# A process needs none of it, and what isn't there needn't be erased.
_PERSONAL: dict[str, Any] = {
    "customer_id": None,
    "customer_name": None,
    "customer_email": None,
    "shipping_address": None,
}


def react(saga: Saga, event: Event, terms: Terms) -> Step:
    """What the next event of the order leads to."""
    now = replace(saga, order=replace(evolve(saga.order, event), **_PERSONAL))
    reaction = _REACTIONS.get(event.type)
    return Step(now, []) if reaction is None else reaction(now, event, terms)


def _confirmed(saga: Saga, event: Event, terms: Terms) -> Step:
    timer = Timer(PAYMENT_DUE, event.time + terms.payment_timeout)
    return Step(replace(saga, stage="awaiting_payment", timer=timer), [])


def _paid(saga: Saga, _: Event, __: Terms) -> Step:
    if saga.stage != "awaiting_payment" or saga.order.paid < saga.order.total:
        return Step(saga, [])
    return Step(replace(saga, stage="awaiting_shipment", timer=None), [])


def _payment_failed(saga: Saga, _: Event, __: Terms) -> Step:
    return _undo(saga, "payment failed") if saga.stage == "awaiting_payment" else Step(saga, [])


def _shipped(saga: Saga, _: Event, __: Terms) -> Step:
    return Step(replace(saga, stage="in_delivery"), [])


def _delivery_failed(saga: Saga, _: Event, terms: Terms) -> Step:
    saga = replace(saga, failed_deliveries=saga.failed_deliveries + 1)
    if saga.failed_deliveries < terms.delivery_attempts:
        return Step(replace(saga, stage="awaiting_shipment"), [])
    return _undo(saga, f"delivery failed {saga.failed_deliveries} times")


def _delivered(saga: Saga, _: Event, __: Terms) -> Step:
    return Step(replace(saga, stage="ended", timer=None), [])


def _cancelled(saga: Saga, _: Event, __: Terms) -> Step:
    saga = replace(saga, timer=None)
    left = saga.order.paid - saga.order.refunded
    if left <= 0:
        return Step(replace(saga, stage="ended"), [])
    refund = _command(saga, "refund", amount=money.text(left), reason=f"cancelled: {saga.order.cancel_reason}")
    return Step(replace(saga, stage="compensating"), [refund])


def _refunded(saga: Saga, _: Event, __: Terms) -> Step:
    done = saga.order.cancelled_at is not None and saga.order.refunded >= saga.order.paid
    return Step(replace(saga, stage="ended"), []) if done else Step(saga, [])


_REACTIONS: dict[str, Callable[[Saga, Event, Terms], Step]] = {
    "order.confirmed": _confirmed,
    "order.payment_captured": _paid,
    "order.payment_failed": _payment_failed,
    "order.shipped": _shipped,
    "order.delivery_failed": _delivery_failed,
    "order.delivered": _delivered,
    "order.cancelled": _cancelled,
    "order.refunded": _refunded,
}


def fall_due(saga: Saga) -> Step:
    """What the saga's timer leads to."""
    assert saga.timer is not None
    if saga.stage != "awaiting_payment":
        return Step(replace(saga, timer=None), [])
    return _undo(saga, "payment timed out")


def _undo(saga: Saga, reason: str) -> Step:
    return Step(replace(saga, stage="compensating", timer=None), [_command(saga, "cancel", reason=reason)])


def _command(saga: Saga, kind: Literal["cancel", "refund"], **data: Any) -> Command:
    return Command(kind, saga.order.order_id, data)
