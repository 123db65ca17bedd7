"""Random deliveries in random batches end where the reference model says, whatever came between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from consumer import reference
from schemas.events import Decoded, Event, Tombstone, Unreadable
from testkit.books import Books
from tests.support.events import Rec, Row, event
from tests.support.histories import rows

Delivery = reference.Event | reference.Broken | reference.Tombstone

orders = st.sampled_from(["o-1", "o-1", "o-2"])
events = orders.flatmap(rows).map(reference.Event)
tangled = orders.flatmap(lambda order: rows(order, shared_ids=True)).map(reference.Event)
broken = st.none() | orders
streams = st.lists(
    st.one_of(events, events, events, events, events, broken.map(reference.Broken), orders.map(reference.Tombstone)),
    max_size=30,
)
alive = st.lists(st.one_of(tangled, tangled, tangled, broken.map(reference.Broken)), max_size=30)
sizes = st.lists(st.integers(1, 6), max_size=20)


def received(delivery: Delivery) -> Decoded:
    match delivery:
        case reference.Event(attributes):
            return known(*(attributes[name] for name in ("type", "sequence", "subject", "id", "source")))
        case reference.Broken(order_id):
            return Unreadable("not JSON", order_id, None, Rec())
        case reference.Tombstone(order_id):
            return Tombstone(order_id, Rec())


@cache
def known(type_: str, version: int, order: str, event_id: str, source: str) -> Event:
    return event(type_, version, order=order, id=event_id, source=source)


def in_batches(items: Sequence[Decoded], cuts: list[int]) -> Books:
    books, start = Books(), 0
    for size in [*cuts, len(items)]:
        books.take(items[start : start + size])
        start += size
    return books


def end_of(books: Books) -> dict[str, Any]:
    """What is applied, waits and is dead, in the reference model's words."""
    orders = {event.order_id for event in books.ledger.values()}
    return {
        "applied": {order: [(one.source, one.id) for one in books.history(order)] for order in orders},
        "parked": Counter((one.source, one.id) for one in books.parked),
        "dead": Counter(
            (one.reason, (one.of.source, one.of.id) if isinstance(one.of, Event) else one.of.order_id)
            for one in books.letters
        ),
    }


def expected(settled: reference.Settled) -> dict[str, Any]:
    def who(meant: Row) -> tuple[str, str]:
        return meant["source"], meant["id"]

    return {
        "applied": {order: list(map(who, history)) for order, history in settled.applied.items()},
        "parked": Counter(map(who, settled.parked)),
        "dead": Counter(
            (reason, who(meant) if meant and "id" in meant else meant and meant["subject"])
            for reason, meant in settled.dead
        ),
    }


@settings(max_examples=70, deadline=None)
@given(streams, sizes)
def test_any_stream_in_any_batches_ends_where_the_reference_model_ends(stream: list[Delivery], cuts: list[int]) -> None:
    items = [received(delivery) for delivery in stream]
    settled = reference.settle(stream)
    books = in_batches(items, cuts)
    assert end_of(books) == expected(settled)
    tombstones = sum(isinstance(one, reference.Tombstone) for one in stream) - len(settled.erased)
    assert (books.counts["duplicate"], books.counts["erased"]) == (settled.duplicates + tombstones, settled.dropped)


@settings(max_examples=70, deadline=None)
@given(alive, sizes)
def test_every_event_is_somewhere_and_only_once(stream: list[Delivery], cuts: list[int]) -> None:
    items = [received(delivery) for delivery in stream]
    books = in_batches(items, cuts)
    assert end_of(books) == expected(reference.settle(stream))
    sent = [(item.source, item.id) for item in items if isinstance(item, Event)]
    letters = [letter.of for letter in books.letters if isinstance(letter.of, Event)]
    found = [(one.source, one.id) for one in [*books.ledger.values(), *books.parked, *letters]]
    assert sorted(found) == sorted(set(sent))
    assert books.counts["duplicate"] == len(sent) - len(set(sent))
    assert all(one.version > books.orders[one.order_id].version for one in books.parked)


@settings(max_examples=70, deadline=None)
@given(alive, sizes)
def test_a_stream_played_twice_is_all_duplicates_the_second_time(stream: list[Delivery], cuts: list[int]) -> None:
    items = [item for item in map(received, stream) if isinstance(item, Event)]
    books = in_batches(items, cuts)
    before, states = end_of(books), dict(books.orders)
    books.counts.clear()
    books.take(items)
    assert (end_of(books), books.orders) == (before, states)
    assert books.counts == Counter(duplicate=len(items))
