"""In which order an order's records came: kept within partitions, as live chose it across them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer import reference
from consumer.verification.arrivals import Arrival, Identity, Live, Note, Said
from consumer.verification.choices import as_live, by_version, merged, varies
from consumer.verification.settling import settle, settle_as_live
from tests.support.events import at
from tests.support.histories import rows


def arrival(
    id_: str, version: int, partition: int = 0, offset: int = 0, timestamp: int = 0, *, again: bool = False, **said: Any
) -> Arrival:
    what = {"source": "/s", "type": "order.delivered", "time": at(version), "text": None, "schema_version": 1, **said}
    note = Note("version_conflict", "o-1", "/s", id_, ("t", partition, offset), known=True, again=True)
    place = ("", -1, -1) if partition < 0 else ("t", partition, offset)
    return Arrival("event", "o-1", Said(id=id_, version=version, **what), note if again else None, place, timestamp)


def ids(arrivals: Sequence[Arrival]) -> list[str]:
    return [one.said.id for one in arrivals if one.said is not None]


def chosen(*winners: str) -> Any:
    return lambda one: 1 if one.said is not None and one.said.id in winners else 2


def test_partitions_are_merged_by_time_and_keep_their_order() -> None:
    arrivals = [
        arrival("b", 2, partition=1, offset=0, timestamp=5),
        arrival("a", 1, partition=0, offset=0, timestamp=9),
        arrival("c", 3, partition=1, offset=1, timestamp=1),
        arrival("d", 4, partition=0, offset=1, timestamp=2),
        arrival("beside", 5, partition=-1),
        arrival("e", 6, partition=1, offset=2, timestamp=6),
    ]
    assert ids(merged(arrivals)) == ["b", "c", "e", "a", "d", "beside"]
    assert merged([]) == []


@pytest.mark.parametrize(
    ("arrivals", "winner", "expected"),
    [
        ([arrival("x", 1), arrival("y", 1, partition=1)], "y", "yx"),
        ([arrival("x", 1), arrival("y", 1, partition=1)], "x", "xy"),
        ([arrival("x", 1), arrival("y", 1, offset=1)], "y", "xy"),  # one partition: the first that came
        ([arrival("x", 1), arrival("z", 2), arrival("y", 1, partition=1)], "y", "yxz"),
        ([arrival("x", 1), arrival("y", 1, partition=-1)], "y", "yx"),  # it came beside the log
        ([arrival("x", 1, again=True), arrival("y", 1, offset=1)], "y", "yx"),  # x came when it was retried
        # a copy of x stands before y in y's own partition
        ([arrival("x", 1), arrival("x", 1, partition=1), arrival("y", 1, partition=1, offset=1)], "y", "xxy"),
        ([arrival("x", 1), arrival("y", 1, partition=1, offset=1), arrival("x", 1, partition=1, offset=2)], "y", "yxx"),
        ([arrival("x", 1), arrival("x", 2, partition=1, type="order.shipped")], "", "xx"),
    ],
)
def test_rivals_are_in_live_s_order_as_far_as_partitions_leave_it_a_choice(
    arrivals: list[Arrival], winner: str, expected: str
) -> None:
    assert ids(as_live(arrivals, chosen(winner))) == list(expected)


def test_who_has_no_rival_stays_where_it_is() -> None:
    arrivals = [arrival("a", 1), arrival("b", 2, partition=1), arrival("c", 3, partition=2)]
    assert as_live(arrivals, lambda one: -one.said.version if one.said else 0) == arrivals


def test_exact_copies_in_a_partition_are_left_out() -> None:
    copies = [arrival("x", 1, offset=n) for n in range(3)]
    assert as_live(copies, chosen()) == copies[:1]


def test_one_identity_with_two_contents_is_seen() -> None:
    assert not varies([arrival("x", 1), arrival("x", 1, partition=1), arrival("y", 1)])
    assert varies([arrival("x", 1), arrival("x", 1, partition=1, text="{}")])
    assert varies([arrival("x", 1), arrival("x", 2)])


deliveries = st.lists(st.tuples(rows("o-1", shared_ids=True), st.integers(0, 2)), max_size=9)


def as_arrivals(given: Iterable[tuple[dict[str, Any], int]]) -> list[Arrival]:
    """Events and the partitions through which they came, in order of offsets; times say nothing."""
    return [
        arrival(
            row["id"],
            row["sequence"],
            partition,
            offset,
            source=row["source"],
            type=row["type"],
            time=reference.instant(row["time"]),
            text=None if row["data"] is None else json.dumps(row["data"]),
        )
        for offset, (row, partition) in enumerate(given)
    ]


def with_letters(came: Sequence[Arrival]) -> tuple[list[Arrival], Live, dict[Identity, Said]]:
    """What live has after these, in this order: a letter's note on the record that made it, and what was applied."""
    outcome = settle("o-1", [one._replace(place=("t", 0, n)) for n, one in enumerate(came)])
    applied = {row["sequence"]: (row["source"], row["id"]) for row in outcome.history}
    waiting = {(row["source"], row["id"]): row["sequence"] for row in outcome.waiting}
    reasons = {letter["record"]: letter["reason"] for letter in outcome.letters}
    noted: list[Arrival] = []
    contents: dict[Identity, Said] = {}
    for one in came:
        assert one.said is not None
        contents.setdefault(one.said.identity, one.said)
        reason = reasons.pop(" ".join(one.said.identity), None)
        note = Note(reason or "", "o-1", *one.said.identity, one.place, known=True, again=False)
        noted.append(one if reason is None else one._replace(note=note))
    return noted, Live(len(applied), False, applied, waiting), contents


@given(deliveries, st.randoms(use_true_random=False))
def test_however_partitions_were_interleaved_live_s_choice_explains_it(
    sent: list[tuple[dict[str, Any], int]], rng: Random
) -> None:
    lanes = {partition: [one for one in as_arrivals(sent) if one.place[1] == partition] for partition in range(3)}
    turns = [partition for partition, lane in lanes.items() for _ in lane]
    rng.shuffle(turns)
    came, live, contents = with_letters([lanes[partition].pop(0) for partition in turns])
    outcome = settle_as_live("o-1", sorted(came, key=lambda one: one.place), live, contents, ())
    assert outcome.agrees(live)


@given(deliveries)
def test_lower_versions_first_changes_nothing(sent: list[tuple[dict[str, Any], int]]) -> None:
    arrivals = as_arrivals([(row, 0) for row, _ in sent])
    ours, sooner = settle("o-1", arrivals), settle("o-1", _renumbered(by_version(arrivals)))
    assert ours.history == sooner.history
    assert sorted(map(str, ours.waiting)) == sorted(map(str, sooner.waiting))
    assert sorted(map(str, ours.letters)) == sorted(map(str, sooner.letters))


def _renumbered(arrivals: Sequence[Arrival]) -> list[Arrival]:
    return [one._replace(place=("t", 0, offset)) for offset, one in enumerate(arrivals)]
