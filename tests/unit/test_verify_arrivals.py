"""What a record is, its letter considered; and an event as the reference model takes it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from consumer import exact_json
from consumer.verification.arrivals import Arrival, Note, Said, arrival, as_sent, event, note_row
from consumer.verification.settling import settle
from schemas.wire import decode
from tests.support.events import DATA, LINE, Rec, at, record

PLACE = ("orders.events", 0, 0)
OLD = '{"customer_id": "c-1", "customer_name": "Ada", "items": [], "currency": "EUR"}'


def note(
    reason: str, *, known: bool = True, order: str | None = "o-1", again: bool = False, id_: str = "o-1-1"
) -> Note:
    return Note(reason, order, "/shop/orders", id_, PLACE, known, again)


GOOD, BROKEN, NAMELESS, ERASURE = record(), Rec(value=b"{"), Rec(key=None, value=b"{"), Rec(key=b"o-1")


@pytest.mark.parametrize(
    ("rec", "letter", "kind"),
    [
        (GOOD, None, "event"),
        (BROKEN, None, "broken"),
        (NAMELESS, None, None),
        (ERASURE, None, "tombstone"),
        (GOOD, note("version_conflict"), "event"),
        (GOOD, note("invalid_history"), "event"),
        (GOOD, note("projection_error"), "left"),
        (ERASURE, note("projection_error"), "left"),
        (GOOD, note("unreadable"), "broken"),
        (GOOD, note("unreadable", order=None), None),
        (BROKEN, note("unreadable"), "broken"),
        (GOOD, note("projection_error", known=False, again=True), "event"),
        (GOOD, note("unreadable", known=False, again=True), "event"),
        (BROKEN, note("version_conflict"), "left"),  # the release that read it was another one
    ],
)
def test_a_record_is_what_it_says_unless_its_letter_has_decided(
    rec: Rec, letter: Note | None, kind: str | None
) -> None:
    found = arrival(decode(rec), letter)
    if kind is None:
        assert found == PLACE
    else:
        assert isinstance(found, Arrival)
        assert (found.kind, found.order_id, found.place, found.note) == (kind, "o-1", PLACE, letter)
        assert (found.said is not None) == (kind in ("event", "left") and rec is GOOD)


def test_what_another_release_could_read_is_in_the_database_alone() -> None:
    assert arrival(decode(BROKEN), note("unreadable", known=False)) is None


def test_an_unreadable_record_is_of_the_order_that_its_letter_names() -> None:
    found = arrival(decode(GOOD), note("unreadable", order="its key"))
    assert isinstance(found, Arrival)
    assert found.order_id == "its key"


def test_what_was_tried_again_may_have_come_at_any_time() -> None:
    once, again = [arrival(decode(GOOD), note("version_conflict", again=again)) for again in (False, True)]
    assert isinstance(once, Arrival)
    assert isinstance(again, Arrival)
    assert (once.lane, again.lane, Arrival("event", "o-1").lane) == (PLACE[:2], None, None)


def said(text: str | None, version: int | None = 1, kind: str = "order.placed") -> Said:
    return Said("/s", "e-1", kind, 1, at(1), text, version)


@pytest.mark.parametrize(("version", "newer"), [(0, True), (None, True), (1, False), (7, False)])
def test_data_are_folded_in_the_version_of_now_and_told_as_they_were_sent(version: int | None, newer: bool) -> None:
    text = OLD.replace("[]", '[{"sku": "pen", "quantity": 2, "unit_price": "12.50"}]')
    found = event("o-1", said(text, version))
    assert as_sent(found)["data"] == exact_json.parsed(text)
    assert ("customer" in found["data"]) is newer
    if newer:
        assert found["data"]["lines"] == [LINE]


@pytest.mark.parametrize("data", [DATA["order.placed"], {"x": 10**5000, **(DATA["order.placed"] or {})}])
def test_what_the_journal_has_in_version_1_is_not_taken_for_older(data: Any) -> None:
    huge = '{"x": 1' + "0" * 5000 + ', "customer": {"id": "c", "name": "n"}, "currency": "EUR", "lines": []}'
    text = huge if "x" in data else '{"customer": {"id": "c", "name": "n"}, "currency": "EUR", "lines": [1]}'
    assert event("o-1", said(text, None))["data"]["customer"] == {"id": "c", "name": "n"}


def test_an_event_without_data_has_none() -> None:
    assert event("o-1", said(None, kind="order.confirmed"))["data"] is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", Decimal("0.1")),
        ("1.50", Decimal("1.50")),
        ("[1, 1e2]", [1, Decimal(100)]),
        ("1" + "0" * 5000, Decimal(10) ** 5000),
        ("-0", 0),
        (" [" + "9" * 5000 + "] ", [Decimal("9" * 5000)]),
    ],
)
def test_numbers_are_read_exactly(text: str, value: Any) -> None:
    assert exact_json.parsed(text) == value


def test_letters_are_known_by_their_event_or_else_by_their_place() -> None:
    assert note_row(note("version_conflict"))["record"] == "/shop/orders o-1-1"
    assert note_row(note("unreadable"))["record"] == "orders.events/0 at offset 0"


def arrived(rec: Rec, letter: Note | None = None, offset: int = 0) -> Arrival:
    found = arrival(decode(rec._replace(offset=offset)), letter)
    assert isinstance(found, Arrival)
    return found


def test_what_a_letter_keeps_out_makes_copies_of_it_elsewhere() -> None:
    copy = arrived(record(), None, 1)
    outcome = settle("o-1", [arrived(record(), note("projection_error")), copy])
    assert (outcome.history, [letter["reason"] for letter in outcome.letters]) == ([], ["projection_error"])
    assert outcome.letters == outcome.found_letters


def test_an_erased_order_has_no_letters() -> None:
    outcome = settle("o-1", [arrived(BROKEN, note("unreadable")), arrived(ERASURE, offset=1), arrived(GOOD, offset=2)])
    assert (outcome.erased, outcome.history, outcome.letters, len(outcome.found_letters)) == (True, [], [], 1)


def test_a_letter_without_a_record_counts_if_it_has_to_be_there() -> None:
    rivals = [arrived(record(id="a")), arrived(record(id="b"), offset=1)]
    found = settle("o-1", [*rivals, Arrival("letter", "o-1", None, note("version_conflict", id_="b"), PLACE)])
    assert (found.letters == found.found_letters, found.beside) == (True, [])
    other = settle("o-1", [*rivals[:1], Arrival("letter", "o-1", None, note("version_conflict", id_="b"), PLACE)])
    assert (other.letters, other.found_letters, len(other.beside)) == ([], [], 1)
