"""The reference model against examples worked out by hand, rule by rule of the contract."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from consumer import reference
from consumer.reference import Broken, Event, Tombstone, compare, instant, settle

Row = dict[str, Any]
PEN = {"sku": "pen", "quantity": 2, "unit_price": "12.50"}


def at(minute: int) -> datetime:
    return datetime(2026, 1, 1, 12, minute, tzinfo=UTC)


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
    return reference.read_models({history[0]["subject"]: history for history in histories})


def summary(*then: tuple[str, Row], **given: Any) -> Row:
    [row] = models(order_with(*then, **given))["order_summary"]
    return row


def settled(*events: Row) -> reference.Settled:
    return settle(Event(one) for one in events)


def reasons(outcome: reference.Settled) -> list[tuple[str, str | None]]:
    return [(reason, one["id"] if one else None) for reason, one in outcome.dead]


def ids(events: list[Row]) -> list[str]:
    return [one["id"] for one in events]


CONFIRMED: tuple[str, Row] = ("confirmed", {})
SHIPPED: tuple[str, Row] = ("shipped", {"carrier": "DHL", "tracking_number": "T1"})
DELIVERED: tuple[str, Row] = ("delivered", {})
CANCELLED: tuple[str, Row] = ("cancelled", {"reason": "late"})


def captured(amount: Any) -> tuple[str, Row]:
    return "payment_captured", {"payment_id": "p1", "amount": amount}


def refunded(amount: Any) -> tuple[str, Row]:
    return "refunded", {"amount": amount, "reason": "broken"}


# What happens after an order of two pens at 12.50 was placed, and what is to come of it.
# fmt: off
STATUS_AFTER: list[tuple[list[tuple[str, Row]], str]] = [
    ([], "placed"), ([CONFIRMED], "confirmed"), ([captured("25")], "paid"),
    ([("payment_failed", {"payment_id": "p1", "reason": "no"})], "payment_failed"),
    ([SHIPPED], "shipped"), ([SHIPPED, ("delivery_failed", {"reason": "no"})], "delivery_failed"),
    ([SHIPPED, DELIVERED], "delivered"), ([CANCELLED], "cancelled"),
    ([captured("25"), refunded("10")], "paid"), ([captured("25"), refunded("26")], "refunded"),
    ([captured("25"), refunded("10"), refunded("15")], "refunded"), ([refunded("0")], "refunded"),
    ([CANCELLED, captured("1"), refunded("1")], "refunded"),
    ([captured("25"), refunded("25"), captured("1")], "paid"),
    ([CONFIRMED, ("gift_wrapped", {"paper": "red"})], "confirmed"),
    ([CONFIRMED, ("address_changed", {"shipping_address": {}})], "confirmed"),
]
FIGURES_AFTER = [  # open, delivered, cancelled, revenue
    ([], (1, 0, 0, 25)), ([DELIVERED], (0, 1, 0, 25)), ([CANCELLED], (0, 0, 1, 0)),
    ([captured("25"), refunded("5")], (1, 0, 0, 20)), ([DELIVERED, CANCELLED], (0, 1, 1, 0)),
    ([captured("25"), refunded("25")], (0, 0, 0, 0)),
    ([captured("25"), CANCELLED, refunded("25")], (0, 0, 1, 0)),
    ([DELIVERED, captured("25"), refunded("25")], (0, 1, 0, 0)),
    ([captured("25"), refunded("25"), captured("25")], (1, 0, 0, 0)),
]
READY_AFTER = [
    ([CONFIRMED, captured("25")], at(3)), ([captured("25"), CONFIRMED], at(3)),
    ([CONFIRMED, captured("24.99"), captured("0.01")], at(4)),
    ([CONFIRMED, ("line_removed", {"sku": "pen"})], at(2)),
    ([CONFIRMED, captured("25"), refunded("25")], at(3)),
    ([captured("25")], None), ([CONFIRMED, captured("24.99")], None),
    ([CONFIRMED, captured("25"), SHIPPED], None), ([CONFIRMED, captured("25"), CANCELLED], None),
]
# fmt: on


def test_an_event_told_twice_counts_once() -> None:
    outcome = settled(placed(), placed(), event(2, "confirmed"), placed())
    assert (ids(outcome.applied["o1"]), outcome.duplicates) == (["o1-1", "o1-2"], 2)


def test_the_same_id_from_another_source_is_another_event() -> None:
    outcome = settled(placed(), {**placed(), "source": "/elsewhere"})
    assert (outcome.duplicates, reasons(outcome)) == (0, [("version_conflict", "o1-1")])


def test_an_early_event_waits_and_is_applied_when_the_hole_is_filled() -> None:
    early = settled(event(3, "delivered"), event(2, "confirmed"), event(3, "delivered"))
    assert (ids(early.parked), early.duplicates) == (["o1-3", "o1-2"], 1)
    filled = settled(event(3, "delivered"), event(2, "confirmed"), placed())
    assert (ids(filled.applied["o1"]), filled.parked) == (["o1-1", "o1-2", "o1-3"], [])


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
    assert (ids(outcome.applied["o1"]), outcome.unknown_types) == (["o1-1"], 1)
    rows = reference.read_models(outcome.applied)
    assert (rows["order_summary"], len(rows["order_timeline"])) == ([], 1)


def test_each_unreadable_record_is_a_dead_letter_and_identifies_nothing() -> None:
    outcome = settle([Broken(), Broken(), Event(placed())])
    assert (reasons(outcome)[:1], len(outcome.dead)) == ([("unreadable", None)], 2)
    assert (ids(outcome.applied["o1"]), outcome.duplicates) == (["o1-1"], 0)


def test_a_tombstone_erases_the_order_everywhere_and_for_good() -> None:
    rival, early = {**placed(), "id": "rival"}, event(5, "delivered")
    before = (Event(placed()), Event(rival), Event(early), Broken("o1"), Broken())
    after = (Tombstone("o1"), Event(event(2, "confirmed")), Event(placed("o2")))
    outcome = settle((*before, *after))
    assert (list(outcome.applied), outcome.parked, outcome.erased) == (["o2"], [], {"o1"})
    assert (outcome.dead, outcome.dropped) == ([("unreadable", None)], 1)


def test_a_tombstone_erases_an_order_that_was_never_seen() -> None:
    outcome = settle([Tombstone("o1"), Event(placed()), Broken("o1")])
    assert (outcome.applied, outcome.erased, outcome.dropped) == ({}, {"o1"}, 2)


@pytest.mark.parametrize(("then", "status"), STATUS_AFTER)
def test_the_last_event_that_names_a_status_decides(then: list[Any], status: str) -> None:
    assert summary(*then)["status"] == status


def test_a_time_is_that_of_the_last_event_that_named_the_state() -> None:
    row = summary(captured("5"), CONFIRMED, captured("20"), CANCELLED, refunded("25"))
    assert (row["placed_at"], row["paid_at"], row["confirmed_at"]) == (at(1), at(4), at(3))
    assert (row["cancelled_at"], row["shipped_at"], row["last_event_at"]) == (at(5), None, at(6))


def test_a_row_has_the_columns_of_the_contract_and_null_for_what_never_was() -> None:
    assert summary() == {
        **{"order_id": "o1", "version": 1, "status": "placed", "currency": "EUR"},
        **{"customer_id": "c1", "customer_name": "Ada", "customer_email": "ada@example.com"},
        **{"line_count": 1, "unit_count": 2, "total": 25, "paid": 0, "refunded": 0},
        "lines": [{"sku": "pen", "title": None, "quantity": 2, "unit_price": "12.50"}],
        **{"shipping_address": None, "carrier": None, "tracking_number": None},
        **{"cancel_reason": None, "placed_at": at(1), "confirmed_at": None, "paid_at": None},
        **{"shipped_at": None, "delivered_at": None, "cancelled_at": None},
        **{"last_event_id": "o1-1", "last_event_at": at(1)},
    }


def test_the_same_sku_at_the_same_price_in_any_text_adds_to_the_first_such_line() -> None:
    same, dearer = {**PEN, "unit_price": "12.5", "title": "Pen"}, {**PEN, "unit_price": "13"}
    row = summary(("line_added", {"line": dearer}), ("line_added", {"line": same}))
    quantities = [(line["quantity"], line["unit_price"]) for line in row["lines"]]
    assert quantities == [(4, "12.50"), (2, "13")]
    assert (row["line_count"], row["unit_count"], row["total"]) == (2, 6, 76)
    assert row["lines"][0]["title"] is None


def test_removing_a_sku_removes_each_of_its_lines() -> None:
    cup = {"sku": "cup", "quantity": 1, "unit_price": "3"}
    row = summary(("line_removed", {"sku": "pen"}), lines=[PEN, cup, {**PEN, "unit_price": "1"}])
    assert ([line["sku"] for line in row["lines"]], row["total"]) == (["cup"], 3)


def test_a_price_keeps_its_text_a_number_its_digits_and_lines_placed_stay_apart() -> None:
    sent = ["12.50", "007.0", Decimal("12.50"), Decimal("1e2"), Decimal("-0.00")]
    lines = summary(lines=[{**PEN, "unit_price": price} for price in sent])["lines"]
    assert [line["unit_price"] for line in lines] == ["12.50", "007.0", "12.50", "100", "0"]


def test_no_quantity_is_too_large_to_be_counted_to_the_last_cent() -> None:
    row = summary(lines=[{**PEN, "quantity": 10**60 + 1, "unit_price": "99999999999999.9999"}])
    assert row["unit_count"] == 10**60 + 1
    assert str(row["total"]) == f"{'9' * 18}{'0' * 42}{'9' * 14}.9999"


def test_times_are_utc_and_cut_to_the_microsecond() -> None:
    eve = datetime(2025, 12, 31, 22, 30, 0, 123456, tzinfo=UTC)
    assert instant("2026-01-01T00:30:00.1234569+02:00") == eve
    assert instant("2026-01-01t12:00:60z") == at(1)


def test_the_timeline_tells_each_applied_event_with_its_data_as_sent() -> None:
    rows = models(order_with(("gift_wrapped", {"paper": "red"}), CONFIRMED))["order_timeline"]
    told = [f"{row['version']} {row['event_type']}" for row in rows]
    assert told == ["1 order.placed", "2 order.gift_wrapped", "3 order.confirmed"]
    assert (rows[1]["data"], rows[2]["data"]) == ({"paper": "red"}, None)
    assert (rows[1]["event_id"], rows[1]["occurred_at"]) == ("o1-2", at(2))


def test_a_customer_has_a_row_per_currency_named_by_its_own_latest_order() -> None:
    eve = {"id": "c1", "name": "Eve"}
    tie = [placed("o2", customer=eve), placed("o1"), placed("o3", currency="USD")]
    euros, dollars = models(*[[order] for order in tie])["customer_summary"]
    assert (euros["currency"], euros["orders"], euros["customer_name"]) == ("EUR", 2, "Eve")
    assert (dollars["currency"], dollars["customer_name"]) == ("USD", "Ada")
    assert euros["last_order_at"] == at(1)


@pytest.mark.parametrize(("then", "figures"), FIGURES_AFTER)
def test_a_customers_figures(then: list[Any], figures: tuple[int, ...]) -> None:
    [row] = models(order_with(*then))["customer_summary"]
    names = ("open_orders", "delivered_orders", "cancelled_orders", "revenue")
    assert (row["orders"], tuple(row[name] for name in names)) == (1, figures)


def test_product_sales_count_each_order_once_and_no_cancelled_one() -> None:
    twice = order_with(lines=[PEN, {**PEN, "unit_price": "1"}])
    other, gone = order_with(order="o2"), order_with(CANCELLED, refunded("25"), order="o3")
    [row] = models(twice, other, gone)["product_sales_daily"]
    assert (row["sku"], row["day"], row["currency"]) == ("pen", date(2026, 1, 1), "EUR")
    assert (row["orders"], row["units"], row["revenue"]) == (2, 6, 52)


def test_the_day_of_a_sale_is_that_of_placing_in_utc() -> None:
    [row] = models([{**placed(), "time": "2026-01-01T00:30:00+02:00"}])["product_sales_daily"]
    assert row["day"] == date(2025, 12, 31)


@pytest.mark.parametrize(("then", "ready_since"), READY_AFTER)
def test_since_when_an_order_awaits_shipping(then: list[Any], ready_since: Any) -> None:
    rows = models(order_with(*then))["fulfilment_queue"]
    assert [row["ready_since"] for row in rows] == ([ready_since] if ready_since else [])


def test_rows_are_sorted_by_key_in_byte_order() -> None:
    rows = models(*[[placed(order)] for order in ("é", "o10", "o9", "B", "😀", "\uffee")])
    keys = [row["order_id"] for row in rows["order_summary"]]
    assert keys == sorted(keys, key=str.encode) == ["B", "o10", "o9", "é", "\uffee", "😀"]


def test_comparing_names_each_wrong_column_and_each_missing_or_extra_row() -> None:
    expected: list[Row] = [{"id": 1, "sum": Decimal("1.50")}, {"id": 2, "sum": 3}, {"id": 4, "sum": 0}]
    actual: list[Row] = [{"id": 1, "sum": Decimal("1.5"), "more": 0}, {"id": 2, "sum": 4}, {"id": 3}]
    wrong = compare(expected, [*actual, {"id": 4}], ["id"])
    assert [(*one.key, one.column) for one in wrong] == [(2, "sum"), (3, None), (4, "sum")]
    assert str(wrong[0]) == "(2,) sum: expected 3, found 4"
    assert len(compare(expected, [], ["id"], limit=2)) == 2
    assert compare([{"id": 1}], [{"id": 1}, {"id": 1}], ["id"])
