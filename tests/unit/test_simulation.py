"""The simulated stream: the same from the same seed, with what the plan asks for, and settling."""

import hashlib
import json
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from typing import Any

import pytest

from consumer import reference
from consumer.reference import Broken, Event, Tombstone
from producer.simulation import HOT_CUSTOMER, HOT_SKU, Delivery, Encoding, Meaning, SimulationPlan, simulate

PLAN = SimulationPlan(orders=2_000, seed=7, poison=100, tombstones=3, window=200)
QUIET = SimulationPlan(orders=300, duplicates=0, shuffle=0, poison=0, tombstones=0)


@pytest.fixture(scope="module")
def stream() -> list[Delivery]:
    return list(simulate(PLAN))


def as_reference(meant: Meaning) -> Event | Broken | Tombstone:
    if meant.event:
        return Event(meant.event)
    if meant.kind == "broken":
        return Broken(meant.order_id)
    assert meant.order_id is not None
    return Tombstone(meant.order_id)


def first_told(stream: list[Delivery]) -> list[Delivery]:
    """Each event as it was delivered first."""
    told: dict[tuple[str, str], Delivery] = {}
    for delivery in stream:
        if event := delivery.meant.event:
            told.setdefault((event["source"], event["id"]), delivery)
    return list(told.values())


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(stream: list[Delivery]) -> None:
    assert list(simulate(PLAN)) == stream
    assert next(simulate(SimulationPlan(seed=8))) != next(simulate(SimulationPlan(seed=7)))


def test_a_stream_of_any_length_starts_at_once() -> None:
    endless = simulate(SimulationPlan(orders=10**9))
    assert len(list(islice(endless, 1_000))) == 1_000


def test_the_whole_stream_settles_with_nothing_parked(stream: list[Delivery]) -> None:
    outcome = reference.settle(as_reference(delivery.meant) for delivery in stream)
    assert outcome.parked == []
    assert Counter(reason for reason, _ in outcome.dead) == {"unreadable": 100}
    assert (len(outcome.erased), len(outcome.applied)) == (3, 1_997)
    assert outcome.unknown_types > 0


def test_every_version_of_every_order_is_delivered(stream: list[Delivery]) -> None:
    versions: dict[str, set[int]] = {}
    for delivery in stream:
        if event := delivery.meant.event:
            versions.setdefault(event["subject"], set()).add(event["sequence"])
    assert len(versions) == PLAN.orders
    assert all(max(seen) == len(seen) for seen in versions.values())


def test_about_the_asked_share_is_delivered_again(stream: list[Delivery]) -> None:
    told, delivered = len(first_told(stream)), sum(d.meant.kind == "event" for d in stream)
    assert (delivered - told) / told == pytest.approx(PLAN.duplicates, rel=0.15)


def test_copies_come_in_other_encodings_and_under_other_keys_too(stream: list[Delivery]) -> None:
    bytes_told = {(d.value, tuple(d.headers)) for d in first_told(stream)}
    copies = [d for d in stream if d.meant.event and (d.value, tuple(d.headers)) not in bytes_told]
    keys = Counter(bool(d.key and b"o7-" in d.key) for d in stream if d.meant.event)
    assert len(copies) > 30
    assert keys[False] > 30


def late(stream: list[Delivery]) -> int:
    """How many events came after one of a later version of their order."""
    highest: Counter[str] = Counter()
    count = 0
    for delivery in first_told(stream):
        assert delivery.meant.event
        order_id, version = delivery.meant.event["subject"], delivery.meant.event["sequence"]
        count += version < highest[order_id]
        highest[order_id] = max(highest[order_id], version)
    return count


def test_about_the_asked_share_comes_late(stream: list[Delivery]) -> None:
    # The last event of an order has nothing to be late for.
    able = len(first_told(stream)) - PLAN.orders
    assert late(stream) / able == pytest.approx(PLAN.shuffle, rel=0.25)
    assert late(list(simulate(QUIET))) == 0


@pytest.mark.parametrize("poison", [0, 1, 250, 0.02])
def test_poison_is_a_count_or_a_share_of_the_events(poison: float) -> None:
    plan = SimulationPlan(orders=300, duplicates=0, poison=poison, tombstones=0)
    kinds = Counter(delivery.meant.kind for delivery in simulate(plan))
    assert kinds["broken"] == int(poison if poison >= 1 else kinds["event"] * poison)


def test_the_broken_records_are_of_many_kinds_and_only_one_is_huge(stream: list[Delivery]) -> None:
    broken = [delivery for delivery in stream if delivery.meant.kind == "broken"]
    assert len({delivery.meant.flaw for delivery in broken}) >= 30
    assert sum(len(delivery.value or b"") > 2**20 for delivery in broken) == 1


def test_torn_copies_bear_the_ids_of_events_that_are_still_needed(stream: list[Delivery]) -> None:
    needed = {d.meant.event["id"].encode() for d in stream if d.meant.event}
    broken = [d for d in stream if d.meant.kind == "broken"]
    assert any(needed & {value for _, value in d.headers} for d in broken)


def test_a_tombstone_has_the_bare_key_and_no_value(stream: list[Delivery]) -> None:
    stones = [delivery for delivery in stream if delivery.meant.kind == "tombstone"]
    assert [delivery.value for delivery in stones] == [None] * PLAN.tombstones
    assert all(d.key == str(d.meant.order_id).encode() for d in stones)


@pytest.mark.parametrize(("encoding", "mark"), [("binary", "ce_id"), ("structured", "content-type"), ("outbox", "id")])
def test_an_encoding_can_be_asked_for(encoding: Encoding, mark: str) -> None:
    plan = SimulationPlan(orders=30, poison=0, encodings=(encoding,))
    marked = [mark in dict(d.headers) for d in simulate(plan) if d.meant.kind == "event"]
    assert all(marked) or (encoding == "structured" and any(marked))


def said(delivery: Delivery) -> Any:
    value = json.loads(delivery.value or b"", parse_float=Decimal)
    return json.loads(value, parse_float=Decimal) if isinstance(value, str) else value


def test_an_event_says_what_was_meant_in_each_encoding() -> None:
    for delivery in simulate(SimulationPlan(orders=100, poison=0)):
        if event := delivery.meant.event:
            record = said(delivery)
            assert record.get("data", record) == event["data"]
            texts = {text for text in record.values() if isinstance(text, str)}
            texts |= {text.decode() for _, text in delivery.headers}
            assert {event["id"], event["type"], event["time"]} <= texts


def test_orders_are_interleaved_within_the_window() -> None:
    subjects = [d.meant.event["subject"] for d in islice(simulate(QUIET), 100) if d.meant.event]
    assert len(set(subjects)) > 50


def test_what_a_seed_gives_stays_as_it_was(stream: list[Delivery]) -> None:
    digest = hashlib.sha256()
    for delivery in stream:
        digest.update(repr((delivery.key, delivery.value, delivery.headers)).encode())
    assert digest.hexdigest() == "cf72e5b921756134359ee2272f397e4d3655322a4fcdd743e3ff7f7947093298"


@pytest.mark.parametrize("share", [0.5, 0.1, 1.0])
def test_the_asked_share_of_orders_is_hot(share: float) -> None:
    events = [d.meant.event for d in simulate(replace(QUIET, hot=share)) if d.meant.event]
    placed = [event["data"] for event in events if event["type"] == "order.placed"]
    hot = [data for data in placed if data["customer"]["id"] == HOT_CUSTOMER]
    assert len(hot) == QUIET.orders * share
    assert hot == [data for data in placed if data["lines"][0]["sku"] == HOT_SKU]
    assert {data["currency"] for data in hot} == {"EUR"}


def test_nothing_but_customer_currency_and_article_changes_when_orders_are_hot() -> None:
    for even, hot in zip(simulate(QUIET), simulate(replace(QUIET, hot=0.5)), strict=True):
        assert (hot.key, hot.headers) == (even.key, even.headers)
        if even.meant.event and even.meant.event["type"] not in ("order.placed", "order.line_removed"):
            assert hot.value == even.value


@pytest.mark.parametrize("wrong", [{"duplicates": 1.1}, {"shuffle": -1}, {"window": 0}, {"hot": 1.5}])
def test_an_impossible_plan_is_refused_by_name(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SimulationPlan(**wrong)  # type: ignore[arg-type]  # wrong on purpose
