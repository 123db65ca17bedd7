"""The kit's builders make events of the contract, and records that say the same in every encoding."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from consumer import reference
from consumer.reference import Tombstone
from schemas import events as contract
from schemas.events import StoredRecord
from schemas.wire import decode
from testkit.delivery import as_delivery
from testkit.encodings import ENCODINGS, Encoding, encoded
from testkit.events import Event, Order, line, meant, some_orders


def read(event: Event, encoding: Encoding) -> contract.Event:
    record = encoded(event, encoding)
    found = decode(StoredRecord("t", 0, 0, 0, record.key, record.value, tuple(record.headers)))
    assert isinstance(found, contract.Event), found
    return found


def a_whole_life() -> list[Event]:
    order = Order("o-7")
    return [
        order.placed(line("tea", 2, "6.25", "Assam"), address={"country": "NL"}),
        order.line_added(line("cup")),
        order.line_removed("cup"),
        order.address_changed(country="FR"),
        order.confirmed(),
        order.payment_failed(),
        order.payment_captured(),
        order.shipped(),
        order.delivery_failed(),
        order.delivered(),
        order.refunded(),
        order.cancelled(),
    ]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_type_has_a_builder_and_every_builder_makes_a_valid_event(encoding: Encoding) -> None:
    found = [read(event, encoding) for event in a_whole_life()]
    assert {event.type for event in found} == contract.KNOWN_TYPES
    assert [event.version for event in found] == list(range(1, 13))
    assert {event.order_id for event in found} == {"o-7"}
    assert [event.time for event in found] == sorted({event.time for event in found})


def test_a_payment_is_what_the_lines_are_worth_by_then() -> None:
    amounts = [event["data"]["amount"] for event in a_whole_life() if event["data"] and "amount" in event["data"]]
    assert amounts == ["12.50", "12.50"]
    order = Order()
    order.placed(line("tea", 3, "2.50"))
    order.line_added(line("cup", 1, "0.0001"))
    assert order.payment_captured()["data"]["amount"] == "7.5001"
    assert order.refunded("1")["data"]["amount"] == "1"


def test_any_other_type_is_numbered_too() -> None:
    order = Order()
    order.placed()
    wrapped = order.event("order.gift_wrapped", {"paper": "stars"})
    assert (wrapped["sequence"], wrapped["id"], wrapped["data"]) == (2, "o-1-2", {"paper": "stars"})
    assert order.confirmed()["sequence"] == 3


def test_an_erasure_is_a_record_without_a_value() -> None:
    assert Order("o-9").erased() == Tombstone("o-9")
    record = as_delivery(Order("o-9").erased())
    assert (record.key, record.value, record.meant.kind) == (b"o-9", None, "tombstone")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("price", "said"),
    [
        (Decimal("12.50"), "12.50"),
        (Decimal("99999999999999.9999"), "99999999999999.9999"),
        (12.1, "12.1"),
        (7, "7"),
        ("12.50", "12.50"),
    ],
)
def test_an_amount_is_exact_in_every_encoding_and_to_the_reference_model(
    encoding: Encoding, price: Any, said: str
) -> None:
    event = Order().placed({"sku": "tea", "quantity": 10**30, "unit_price": price})
    [found] = read(event, encoding).data["lines"]
    assert (found["quantity"], found["unit_price"]) == (10**30, said)
    told = reference.settle([reference.Event(meant(event))])
    [row] = reference.read_models(told.applied)["order_summary"]
    assert (row["total"], row["lines"][0]["unit_price"]) == (10**30 * Decimal(said), said)


def test_some_orders_are_the_same_for_the_same_seed_and_have_no_hole() -> None:
    events = some_orders(60, 5)
    assert events == some_orders(60, 5) != some_orders(60, 6)
    told = reference.settle(reference.Event(event) for event in events)
    assert (len(told.applied), told.parked, told.dead, told.duplicates) == (60, [], [], 0)
    assert {event["type"] for event in events} >= contract.KNOWN_TYPES - {"order.line_removed"}
