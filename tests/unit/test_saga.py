"""The fulfilment saga, by what it asks for in each story."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from producer.order import Command, Refusal, decide
from producer.saga import PAYMENT_DUE, Saga, Terms, fall_due, react
from schemas import money
from schemas.events import Event
from schemas.order import OrderState, evolve
from tests.support.commands import NOW, command, event
from tests.unit.test_decide import PAID, SHIPPED

TERMS = Terms(timedelta(minutes=30), 2)


class Story:
    """An order and its saga, which has what it asks for carried out at once; `asked` is all of it."""

    def __init__(self) -> None:
        self.order = OrderState("o-1")
        self.saga = Saga(OrderState("o-1"))
        self.asked: list[tuple[str, Any]] = []

    def tell(self, *kinds: str) -> Story:
        for kind in kinds:
            self.do(command(kind, "o-1"))
        return self

    def do(self, command: Command) -> None:
        decided = decide(command, self.order)
        assert not isinstance(decided, Refusal), (command, decided)
        for new in decided:
            happened = self._event(new.type, new.data)
            self.order = evolve(self.order, happened)
            step = react(self.saga, happened, TERMS)
            self.saga = step.saga
            self._carry_out(step.commands)

    def time_out(self) -> Story:
        step = fall_due(self.saga)
        self.saga = step.saga
        self._carry_out(step.commands)
        return self

    def _carry_out(self, commands: list[Command]) -> None:
        for one in commands:
            self.asked.append((one.kind, one.data))
            self.do(one)

    def _event(self, type_: str, data: Any) -> Event:
        return event("o-1", self.order.version + 1, type_, data)

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.asked]


def test_an_order_that_goes_well_is_left_alone() -> None:
    story = Story().tell(*SHIPPED, "deliver")
    assert story.asked == []
    assert story.saga.stage == "ended"
    assert story.saga.timer is None


def test_a_confirmed_order_has_so_long_to_be_paid() -> None:
    story = Story().tell("place", "confirm")
    assert story.saga.timer == (PAYMENT_DUE, NOW + TERMS.payment_timeout)
    assert story.tell("pay").saga.timer is None


def test_a_payment_in_part_does_not_stop_the_clock() -> None:
    story = Story().tell("place", "confirm")
    story.do(Command("pay", "o-1", {"payment_id": "p", "amount": "5"}))
    assert story.saga.timer is not None
    story.time_out()
    assert story.asked == [
        ("cancel", {"reason": "payment timed out"}),
        ("refund", {"amount": "5.0000", "reason": "cancelled: payment timed out"}),
    ]
    assert (story.order.status, story.saga.stage) == ("refunded", "ended")


def test_a_payment_that_fails_cancels_the_order() -> None:
    story = Story().tell("place", "confirm", "fail_payment")
    assert story.asked == [("cancel", {"reason": "payment failed"})]
    assert (story.order.status, story.saga.stage, story.saga.timer) == ("cancelled", "ended", None)


def test_a_payment_that_is_late_cancels_the_order() -> None:
    story = Story().tell("place", "confirm").time_out()
    assert story.kinds == ["cancel"]
    assert story.order.status == "cancelled"


def test_a_timer_that_falls_due_when_all_is_paid_does_nothing() -> None:
    paid = Story().tell("place", "confirm")
    timer = paid.saga.timer
    paid.tell("pay")
    assert fall_due(Saga(paid.saga.order, paid.saga.stage, 0, timer)).commands == []


def test_a_delivery_that_fails_is_tried_again_and_the_last_time_everything_is_undone() -> None:
    story = Story().tell(*SHIPPED, "fail_delivery")
    assert story.asked == []
    assert story.saga.stage == "awaiting_shipment"
    story.tell("ship", "fail_delivery")
    assert story.asked == [
        ("cancel", {"reason": "delivery failed 2 times"}),
        ("refund", {"amount": "20.0000", "reason": "cancelled: delivery failed 2 times"}),
    ]
    assert (story.order.status, story.saga.stage) == ("refunded", "ended")


def test_what_was_paid_for_an_order_that_its_customer_cancels_is_given_back() -> None:
    story = Story().tell(*PAID, "cancel")
    assert story.kinds == ["refund"]
    assert story.order.refunded == money.units("20")


@pytest.mark.parametrize("name", ["customer_id", "customer_name", "customer_email", "shipping_address"])
def test_a_saga_keeps_nothing_personal(name: str) -> None:
    story = Story().tell("place", "change_address", "confirm")
    assert getattr(story.order, name, None) is not None or name == "customer_email"
    assert getattr(story.saga.order, name) is None


def test_events_of_unknown_types_change_nothing_but_the_version() -> None:
    story = Story().tell("place", "confirm")
    step = react(story.saga, story._event("order.gift_wrapped", None), TERMS)
    assert step.commands == []
    assert (step.saga.stage, step.saga.timer) == (story.saga.stage, story.saga.timer)
    assert step.saga.order.version == story.saga.order.version + 1
