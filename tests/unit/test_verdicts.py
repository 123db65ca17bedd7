"""What becomes of each event: CONTRACT 1's table of guarantees, row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from consumer.verdicts import identity, judge
from schemas.events import Decoded, Event, Tombstone, Unreadable
from schemas.order import OrderState
from testkit.books import Books
from tests.support.events import Rec, event


def broken(order: str | None = None, id: str | None = None) -> Unreadable:  # noqa: A002 - as in an event
    return Unreadable("not JSON", order, id, Rec())


def gone(order: str = "o-1") -> Tombstone:
    return Tombstone(order, Rec())


def after(*batches: Sequence[Decoded]) -> Books:
    books = Books()
    for batch in batches:
        books.take(batch)
    return books


def in_one_batch_and_in_many(*items: Decoded) -> list[Books]:
    return [after(list(items)), after(*([item] for item in items))]


# What goes in


def test_the_states_that_are_judged_by_stay_as_they_were() -> None:
    before = OrderState("o-1")
    orders = {"o-1": before}
    found = judge([event(), event("confirmed", 2), event("shipped", 3)], orders, {}, ())
    assert before == OrderState("o-1")
    again = judge([event("delivered", 4), event("refunded", 5)], {"o-1": found.changes["o-1"].after}, {}, ())
    assert found.changes["o-1"].after.version == 3
    assert again.changes["o-1"].before is found.changes["o-1"].after
    assert again.changes["o-1"].after.version == 5


def test_a_refused_event_among_others_leaves_no_trace() -> None:
    found = judge([event(), event("placed", 2), event("confirmed", 2, id="other")], {}, {}, ())
    alone = judge([event(), event("confirmed", 2, id="other")], {}, {}, ())
    assert found.changes["o-1"].after == alone.changes["o-1"].after
    assert [letter.of.id for letter in found.letters if isinstance(letter.of, Event)] == ["o-1-2"]


# Delivered again


def test_an_event_delivered_again_changes_nothing_in_its_batch_or_a_later_one() -> None:
    for books in in_one_batch_and_in_many(event(), event("confirmed", 2), event(), event("confirmed", 2)):
        assert books.versions() == ["o-1-1", "o-1-2"]
        assert books.counts == Counter(applied=2, duplicate=2)


def test_an_event_that_waits_is_known_when_it_comes_again() -> None:
    for books in in_one_batch_and_in_many(event("shipped", 3), event("shipped", 3)):
        assert [one.id for one in books.parked] == ["o-1-3"]
        assert books.counts == Counter(parked=1, duplicate=1)


def test_an_event_in_dead_letters_is_known_when_it_comes_again() -> None:
    rival = event("confirmed", 1, id="rival")
    for books in in_one_batch_and_in_many(event(), rival, rival):
        assert books.reasons() == [("version_conflict", "rival")]
        assert books.counts == Counter(applied=1, version_conflict=1, duplicate=1)


def test_a_known_identity_is_a_duplicate_whatever_else_it_says() -> None:
    other = event("shipped", 5, order="o-2", id="o-1-1")
    for books in in_one_batch_and_in_many(event(), other):
        assert (books.parked, books.letters) == ([], [])
        assert books.counts == Counter(applied=1, duplicate=1)


def test_the_same_id_under_another_source_is_another_event() -> None:
    for books in in_one_batch_and_in_many(event(id="e"), event("confirmed", 2, id="e", source="/app")):
        assert books.versions() == ["e", "e"]
        assert books.counts == Counter(applied=2)


# Ahead of its turn


def test_an_event_ahead_waits_and_is_applied_with_the_one_that_fills_the_hole() -> None:
    books = after([event("shipped", 4), event("confirmed", 2), event("payment_captured", 3)])
    assert {one.version for one in books.parked} == {2, 3, 4}
    verdicts = books.take([event()])
    assert [one.version for one in verdicts.changes["o-1"].applied] == [1, 2, 3, 4]
    assert sorted(one.version for one in verdicts.unparked) == [2, 3, 4]
    assert (books.parked, books.orders["o-1"].status) == ([], "shipped")


def test_draining_stops_at_the_next_hole() -> None:
    for books in in_one_batch_and_in_many(event("shipped", 4), event("confirmed", 2), event()):
        assert books.versions() == ["o-1-1", "o-1-2"]
        assert [one.version for one in books.parked] == [4]


def test_an_event_that_waits_holds_its_order_or_the_wake_up_could_be_lost() -> None:
    change = Books().take([event("shipped", 3)]).changes["o-1"]
    assert change.held
    assert (change.before, change.after.version) == (change.after, 0)


def test_what_was_parked_and_freed_in_one_batch_never_touches_the_parking() -> None:
    verdicts = Books().take([event("confirmed", 2), event()])
    assert (verdicts.parked, verdicts.unparked) == ([], [])
    assert [one.version for one in verdicts.changes["o-1"].applied] == [1, 2]


def test_of_two_that_wait_for_one_version_the_first_that_came_is_taken() -> None:
    first, second = event("confirmed", 2, id="first"), event("cancelled", 2, id="second")
    for books in in_one_batch_and_in_many(first, second, event()):
        assert books.versions() == ["o-1-1", "first"]
        assert books.reasons() == [("version_conflict", "second")]
        assert books.parked == []


def test_of_three_that_wait_a_refused_first_leaves_its_turn_to_the_second() -> None:
    again, good, late = event("placed", 2, id="again"), event("confirmed", 2, id="good"), event("shipped", 2, id="late")
    for books in in_one_batch_and_in_many(again, good, late, event("delivered", 3), event()):
        assert books.versions() == ["o-1-1", "good", "o-1-3"]
        assert books.reasons() == [("invalid_history", "again"), ("version_conflict", "late")]


# Behind its turn


def test_a_new_event_at_a_taken_version_is_a_conflict_and_the_first_stays() -> None:
    for books in in_one_batch_and_in_many(event(), event("confirmed", 2), event("cancelled", 2, id="rival")):
        assert books.orders["o-1"].status == "confirmed"
        assert books.reasons() == [("version_conflict", "rival")]
        assert "version 2" in books.letters[0].why
        assert "stands at 2" in books.letters[0].why


# Unreadable


def test_each_unreadable_record_has_its_letter_and_the_rest_of_the_batch_is_applied() -> None:
    books = after([broken(), event(), broken("o-1", "e-9"), broken("o-1", "e-9"), event("confirmed", 2)])
    assert books.reasons() == [("unreadable", None), ("unreadable", "e-9"), ("unreadable", "e-9")]
    assert books.versions() == ["o-1-1", "o-1-2"]
    assert books.counts == Counter(applied=2, unreadable=3)


def test_an_unreadable_record_identifies_nothing_and_makes_an_empty_order_at_most() -> None:
    for books in in_one_batch_and_in_many(broken("o-1", "o-1-1"), event()):
        assert books.versions() == ["o-1-1"]
    assert after([broken("o-9")]).orders == {"o-9": OrderState("o-9")}


# Histories that can't be


def test_a_refused_event_holds_up_what_comes_after_until_another_takes_its_version() -> None:
    for books in in_one_batch_and_in_many(event("confirmed", 1), event("shipped", 2)):
        assert books.reasons() == [("invalid_history", "o-1-1")]
        assert [one.version for one in books.parked] == [2]
        books.take([event("placed", 1, id="at last")])
        assert books.versions() == ["at last", "o-1-2"]
        assert books.parked == []


def test_placing_again_is_refused_and_held_too() -> None:
    for books in in_one_batch_and_in_many(event(), event("placed", 2), event("confirmed", 3)):
        assert books.reasons() == [("invalid_history", "o-1-2")]
        assert ([one.version for one in books.parked], books.orders["o-1"].version) == ([3], 1)
        assert books.take([event("placed", 2, id="more")]).changes["o-1"].held


def test_a_refusal_while_draining_leaves_the_rest_parked() -> None:
    for books in in_one_batch_and_in_many(event("confirmed", 3), event("placed", 2), event()):
        assert books.reasons() == [("invalid_history", "o-1-2")]
        assert [one.version for one in books.parked] == [3]
        assert books.versions() == ["o-1-1"]


# A projection's own failure


def test_an_event_on_which_a_projection_fails_is_set_aside_and_the_rest_of_its_order_waits() -> None:
    books, bad = Books(), event("confirmed", 2)
    batch = [event(), bad, event("shipped", 3), event(order="o-2"), event("confirmed", 2, order="o-2")]
    books.take(batch, {identity(bad): "read model x: KeyError at x.py:1 in row"})
    assert books.reasons() == [("projection_error", "o-1-2")]
    assert books.letters[0].why == "read model x: KeyError at x.py:1 in row"
    assert (books.versions(), books.versions("o-2")) == (["o-1-1"], ["o-2-1", "o-2-2"])
    assert [one.version for one in books.parked] == [3]


def test_a_parked_event_can_be_barred_too() -> None:
    books, bad = after([event("confirmed", 2), event("shipped", 3)]), event("confirmed", 2)
    verdicts = books.take([event()], {identity(bad): "why"})
    assert books.reasons() == [("projection_error", "o-1-2")]
    assert [one.version for one in verdicts.unparked] == [2]
    assert [one.version for one in books.parked] == [3]


# Tombstones


def test_a_tombstone_erases_all_there_was_and_all_that_comes() -> None:
    rival = event("cancelled", 1, id="rival")
    before: list[Decoded] = [event(), rival, event("shipped", 5), broken("o-1"), broken(), event(order="o-2")]
    later: list[Decoded] = [event("confirmed", 2), event("placed", 1, id="new"), broken("o-1"), gone()]
    for books in in_one_batch_and_in_many(*before, gone(), *later):
        assert (books.versions(), books.versions("o-2")) == ([], ["o-2-1"])
        assert (books.parked, books.reasons()) == ([], [("unreadable", None)])
        assert books.orders["o-1"].erased
        assert books.orders["o-1"].customer_name is None
        assert (books.counts["erased"], books.counts["tombstone"], books.counts["duplicate"]) == (3, 1, 1)


def test_an_order_that_never_was_can_be_erased() -> None:
    for books in in_one_batch_and_in_many(gone(), event(), event("confirmed", 2)):
        assert (books.ledger, books.counts["erased"]) == ({}, 2)


def test_what_a_batch_did_for_an_order_before_its_tombstone_is_not_written() -> None:
    verdicts = after([event("shipped", 3)]).take([event(), event("confirmed", 2), gone(), event(order="o-2")])
    assert verdicts.changes["o-1"].applied == []
    assert (verdicts.parked, verdicts.unparked, verdicts.letters) == ([], [], [])
    assert [one.order_id for one in verdicts.erased] == ["o-1"]
    assert verdicts.counts["applied"] == 1


# What the ledger still has to be asked


def test_newcomers_are_the_events_neither_applied_nor_known() -> None:
    bad = event("confirmed", 1, order="o-2")
    verdicts = after([event()]).take([event(), event("shipped", 9), bad, broken(), event("confirmed", 2)])
    assert [one.id for one in verdicts.newcomers()] == ["o-1-9", "o-2-1"]


@pytest.mark.parametrize("size", [1, 2, 50])
def test_a_long_order_backwards_is_applied_in_order(size: int) -> None:
    events: list[Event] = [event("gift_wrapped", version) for version in range(50, 1, -1)] + [event()]
    books = after(*(events[at : at + size] for at in range(0, 50, size)))
    assert books.versions() == [f"o-1-{version}" for version in range(1, 51)]
    assert books.parked == []
