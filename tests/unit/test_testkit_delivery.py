"""`deliver_badly` does what it says to the events, and leaves what they mean as it was."""

from __future__ import annotations

from itertools import pairwise

import pytest

from producer.simulation import Delivery
from schemas.events import Decoded, Event, StoredRecord, Tombstone, Unreadable
from schemas.wire import decode
from testkit.delivery import Deliveries, Restart, deliver_badly
from testkit.events import Happening, Order, some_orders
from testkit.story import Story

EVENTS = some_orders(40, 3)
SEEDS = range(20)


def records(deliveries: Deliveries) -> list[Delivery]:
    return [one for one in deliveries if isinstance(one, Delivery)]


def read(record: Delivery) -> Decoded:
    return decode(StoredRecord("t", 0, 0, 0, record.key, record.value, tuple(record.headers)))


def versions(deliveries: Deliveries) -> dict[str, list[int]]:
    """The versions of each order, in order of arrival."""
    found: dict[str, list[int]] = {}
    for one in records(deliveries):
        if one.meant.event is not None:
            found.setdefault(one.meant.event["subject"], []).append(one.meant.event["sequence"])
    return found


def test_the_same_seed_gives_the_same_deliveries() -> None:
    assert deliver_badly(EVENTS, 7) == deliver_badly(EVENTS, 7)
    assert deliver_badly(EVENTS, 7) != deliver_badly(EVENTS, 8)


def test_nothing_is_done_that_was_not_asked_for() -> None:
    good = deliver_badly(EVENTS, 1, duplicates=0, late=0, poison=0, restarts=0)
    assert [one.meant.event for one in records(good)] == EVENTS


@pytest.mark.parametrize("seed", SEEDS)
def test_every_event_comes_and_every_hole_closes(seed: int) -> None:
    found = versions(deliver_badly(EVENTS, seed))
    assert {order: sorted(set(theirs)) for order, theirs in found.items()} == versions(
        deliver_badly(EVENTS, 0, duplicates=0, late=0)
    )


def test_some_come_twice_and_some_of_those_under_another_key() -> None:
    deliveries = records(deliver_badly(EVENTS, 7, late=0, poison=0, duplicates=0.5))
    assert 0.3 * len(EVENTS) < len(deliveries) - len(EVENTS) < 0.7 * len(EVENTS)
    keys = {one.key for one in deliveries}
    assert None in keys
    assert any(key and key.startswith(b"elsewhere-") for key in keys)


def test_some_come_after_a_later_one() -> None:
    shuffled = versions(deliver_badly(EVENTS, 7, duplicates=0, poison=0))
    assert any(earlier > later for theirs in shuffled.values() for earlier, later in pairwise(theirs))


def test_a_late_one_is_not_later_than_the_window() -> None:
    events = [Order(f"o-{n}").placed() for n in range(300)]
    arrived = records(deliver_badly(events, 7, duplicates=0, poison=0, late=0.5, window=10))
    places = [int(one.meant.event["subject"][2:]) for one in arrived if one.meant.event]
    assert places != sorted(places)
    assert max(abs(place - original) for place, original in enumerate(places)) <= 10


@pytest.mark.parametrize("seed", SEEDS)
def test_a_record_is_what_it_means(seed: int) -> None:
    kinds = {"event": Event, "tombstone": Tombstone, "broken": Unreadable}
    for one in records(deliver_badly([*EVENTS, Order("gone").placed(), Order("gone").erased()], seed, poison=0.3)):
        found = read(one)
        assert isinstance(found, kinds[one.meant.kind]), (found, one)
        if isinstance(found, Event) and one.meant.event is not None:
            assert (found.id, found.source, found.version) == tuple(
                one.meant.event[name] for name in ("id", "source", "sequence")
            )


def test_all_three_encodings_come() -> None:
    heads = {name for one in records(deliver_badly(EVENTS, 7)) for name, _ in one.headers}
    assert {"ce_specversion", "content-type", "eventType"} <= heads


def test_as_many_are_broken_as_asked_for_and_none_of_an_order_that_is_erased() -> None:
    gone: list[Happening] = [Order("gone").placed(), Order("gone").erased()]
    broken = [one for one in records(deliver_badly([*EVENTS, *gone * 20], 7, poison=0.5)) if one.meant.kind == "broken"]
    assert len(broken) == round(0.5 * (len(EVENTS) + 40))
    assert "gone" not in {one.meant.order_id for one in broken}
    assert {read(one).order_id for one in broken} & {event["subject"] for event in EVENTS}


def test_restarts_come_while_there_is_something_left_to_do_and_die_on_both_sides_of_a_commit() -> None:
    deliveries = deliver_badly(EVENTS, 7, restarts=4)
    at = [place for place, one in enumerate(deliveries) if isinstance(one, Restart)]
    assert len(at) == 4
    assert max(at) < len(deliveries) * 0.75
    assert {one.at for one in deliveries if isinstance(one, Restart)} == {"before", "after"}


def test_it_prints_as_a_summary_that_names_the_seed() -> None:
    assert repr(deliver_badly([Order().placed()], 77, duplicates=0, poison=0, restarts=1)) in {
        "deliver_badly(…, seed=77): 1 × event, 1 × restart",
        "deliver_badly(…, seed=77): 1 × restart, 1 × event",
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_what_they_mean_is_what_the_events_mean(seed: int) -> None:
    told, delivered = Story(EVENTS).settled, Story(deliver_badly(EVENTS, seed)).settled
    assert delivered.applied == told.applied
    assert (delivered.parked, {reason for reason, _ in delivered.dead}) == ([], {"unreadable"})
