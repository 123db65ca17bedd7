"""The reference model against examples worked out by hand, rule by rule of the contract."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from consumer.reference import (
    KEYS,
    Broken,
    Event,
    Settled,
    Tombstone,
    compare,
    instant,
    read_models,
    settle,
)

Row = dict[str, Any]
PEN = {"sku": "pen", "quantity": 2, "unit_price": "12.50"}
MINUTE = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(minute: int) -> datetime:
    return MINUTE.replace(minute=minute)


def event(version: int, event_type: str, order: str = "o1", **data: Any) -> Row:
    """Version n of an order happens at 12:0n, unless the caller says otherwise in `attributes`."""
    attributes = {"id": f"{order}-{version}", "source": "/shop/orders", "subject": order}
    when = {"time": f"2026-01-01T12:{version:02d}:00Z", "sequence": version}
    return {**attributes, **when, "type": f"order.{event_type}", "data": data or None}


def placed(order: str = "o1", version: int = 1, **data: Any) -> Row:
    customer = {"id": "c1", "name": "Ada", "email": "ada@example.com"}
    given = {"customer": customer, "currency": "EUR", "lines": [PEN], **data}
    return event(version, "placed", order, **given)


def order_with(*then: tuple[str, Row], order: str = "o1", **given: Any) -> list[Row]:
    """The history of an order that was placed, and then …"""
    later = [event(n, kind, order, **data) for n, (kind, data) in enumerate(then, 2)]
    return [placed(order, **given), *later]


def models(*histories: list[Row]) -> dict[str, list[Row]]:
    return read_models({history[0]["subject"]: history for history in histories})


def summary(*then: tuple[str, Row], **given: Any) -> Row:
    [row] = models(order_with(*then, **given))["order_summary"]
    return row


def settled(*events: Row) -> Settled:
    return settle(Event(one) for one in events)


def versions(outcome: Settled, order: str = "o1") -> list[int]:
    return [one["sequence"] for one in outcome.applied.get(order, [])]


def reasons(outcome: Settled) -> list[tuple[str, str | None]]:
    return [(reason, one and one["id"]) for reason, one in outcome.dead]


def ids(events: Iterable[Row]) -> list[str]:
    return [one["id"] for one in events]


CONFIRMED: tuple[str, Row] = ("confirmed", {})
SHIPPED: tuple[str, Row] = ("shipped", {"carrier": "DHL", "tracking_number": "T1"})
DELIVERED: tuple[str, Row] = ("delivered", {})
CANCELLED: tuple[str, Row] = ("cancelled", {"reason": "late"})


def captured(amount: Any) -> tuple[str, Row]:
    return "payment_captured", {"payment_id": "p1", "amount": amount}


def refunded(amount: Any) -> tuple[str, Row]:
    return "refunded", {"amount": amount, "reason": "broken"}


# Settling: where a delivery ends


def test_an_event_told_twice_counts_once() -> None:
    outcome = settled(placed(), placed(), event(2, "confirmed"), placed())
    assert (versions(outcome), outcome.duplicates) == ([1, 2], 2)


def test_the_same_id_from_another_source_is_another_event() -> None:
    other = {**placed(), "source": "/elsewhere"}
    outcome = settled(placed(), other)
    assert (outcome.duplicates, reasons(outcome)) == (0, [("version_conflict", "o1-1")])


def test_an_early_event_waits_and_is_applied_when_the_hole_is_filled() -> None:
    early = settled(event(3, "delivered"), event(2, "confirmed"), event(3, "delivered"))
    assert (ids(early.parked), early.duplicates) == (["o1-3", "o1-2"], 1)
    filled = settled(event(3, "delivered"), event(2, "confirmed"), placed())
    assert (versions(filled), filled.parked) == ([1, 2, 3], [])


def test_an_event_whose_version_is_taken_is_a_conflict_once() -> None:
    rival = {**placed(), "id": "rival"}
    outcome = settled(placed(), rival, rival)
    assert ids(outcome.applied["o1"]) == ["o1-1"]
    assert (reasons(outcome), outcome.duplicates) == ([("version_conflict", "rival")], 1)


def test_of_rivals_that_wait_for_one_version_the_first_wins() -> None:
    rival = {**event(2, "cancelled", reason="late"), "id": "rival"}
    outcome = settled(event(2, "confirmed"), rival, placed())
    assert ids(outcome.applied["o1"]) == ["o1-1", "o1-2"]
    assert (reasons(outcome), outcome.parked) == ([("version_conflict", "rival")], [])


def test_a_known_event_before_the_order_is_placed_is_invalid_and_holds_up_the_rest() -> None:
    outcome = settled(event(2, "shipped"), event(1, "confirmed"))
    assert reasons(outcome) == [("invalid_history", "o1-1")]
    assert (outcome.applied, ids(outcome.parked)) == ({}, ["o1-2"])


def test_placing_an_order_again_is_invalid_until_another_event_takes_the_version() -> None:
    again, late = placed(version=2), {**event(2, "confirmed"), "id": "late"}
    outcome = settled(placed(), event(3, "delivered"), again, again, late)
    assert ids(outcome.applied["o1"]) == ["o1-1", "late", "o1-3"]
    assert (reasons(outcome), outcome.duplicates) == ([("invalid_history", "o1-2")], 1)


def test_an_invalid_event_does_not_spoil_the_turn_of_the_next_that_waits() -> None:
    good = {**event(2, "confirmed"), "id": "good"}
    outcome = settled(placed(version=2), good, placed())
    assert ids(outcome.applied["o1"]) == ["o1-1", "good"]
    assert reasons(outcome) == [("invalid_history", "o1-2")]


def test_an_unknown_type_takes_its_version_even_before_the_order_is_placed() -> None:
    outcome = settled(event(1, "gift_wrapped"))
    assert (versions(outcome), outcome.unknown_types) == ([1], 1)
    rows = read_models(outcome.applied)
    assert (rows["order_summary"], len(rows["order_timeline"])) == ([], 1)


def test_each_unreadable_record_is_a_dead_letter_and_identifies_nothing() -> None:
    outcome = settle([Broken(), Broken(), Event(placed())])
    assert (reasons(outcome)[:1], len(outcome.dead)) == ([("unreadable", None)], 2)
    assert (versions(outcome), outcome.duplicates) == ([1], 0)


def test_a_tombstone_erases_the_order_everywhere_and_for_good() -> None:
    rival, early = {**placed(), "id": "rival"}, event(5, "delivered")
    before = [Event(placed()), Event(rival), Event(early), Broken("o1"), Broken()]
    after = [Tombstone("o1"), Event(event(2, "confirmed")), Event(placed("o2"))]
    outcome = settle([*before, *after])
    assert (list(outcome.applied), outcome.parked, outcome.erased) == (["o2"], [], {"o1"})
    assert (outcome.dead, outcome.dropped) == ([("unreadable", None)], 1)


def test_a_tombstone_erases_an_order_that_was_never_seen() -> None:
    outcome = settle([Tombstone("o1"), Event(placed()), Broken("o1")])
    assert (outcome.applied, outcome.erased, outcome.dropped) == ({}, {"o1"}, 2)
