"""Where an order's records have to have ended, as the reference model says. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consumer import reference
from consumer.verification.arrivals import (
    Arrival,
    Identity,
    Live,
    Note,
    Row,
    Said,
    event,
    event_row,
    letter_row,
    note_row,
    sent,
)
from consumer.verification.choices import OTHER, REFUSED, TAKEN, as_live, by_version, merged

_LONG = 500  # arrivals of one order, from which the reference model is spared long queues of waiting ones


@dataclass(frozen=True)
class Outcome:
    """What has to be there of an order: its history, what waits, its letters; `beside` are letters whose record nobody
    has read, and of which nothing follows."""

    history: list[Row]
    waiting: list[Row]
    erased: bool
    letters: list[Row]
    found_letters: list[Row]
    beside: list[Note]

    def agrees(self, live: Live) -> bool:
        """Whether live has the same events in the same places."""
        return (
            self.erased == live.erased
            and {row["sequence"]: (row["source"], row["id"]) for row in self.history} == live.applied
            and {(row["source"], row["id"]): row["sequence"] for row in self.waiting} == live.parked
            and _alike(self.letters, self.found_letters)
        )

    def rows(self, order_id: str) -> Iterator[tuple[str, Row]]:
        """What the machinery's books have to have of it, each row with its book's name."""
        if self.erased:
            yield "orders", {"order_id": order_id, "erased": True}
        elif self.history:
            yield "orders", {"order_id": order_id, "erased": False, "version": len(self.history)}
        for name, events in (("processed_events", self.history), ("parked_events", self.waiting)):
            for row in events:
                yield name, event_row(order_id, row["sequence"], (row["source"], row["id"]))
        for letter in self.letters:
            yield "dead_letters", letter


NOTHING = Outcome([], [], False, [], [], [])


def settle(order_id: str, arrivals: Sequence[Arrival]) -> Outcome:
    """By Kafka's times where partitions leave a choice."""
    return _outcome(order_id, merged(arrivals))


def settle_as_live(
    order_id: str,
    arrivals: Sequence[Arrival],
    live: Live,
    contents: Mapping[Identity, Said],
    elsewhere: Collection[Identity],
) -> Outcome:
    """By live's choice where partitions leave one. `contents` has what live has applied, whole; `elsewhere` the
    identities that live knows as another order's events: here they are copies."""
    # A letter's record was the first of its identity; from then on the letter has made copies of all others.
    noted = {one.said.identity for one in arrivals if one.said is not None and one.note is not None}

    def rank(one: Arrival) -> int:
        said = one.said
        if said is None:
            return OTHER
        if one.note is not None and one.note.known:
            return REFUSED if one.note.reason == "invalid_history" else OTHER
        if live.applied.get(said.version) == said.identity:
            return TAKEN if _same(contents.get(said.identity, said), said) else OTHER
        return TAKEN if live.parked.get(said.identity) == said.version else OTHER

    def is_news(one: Arrival) -> bool:
        said = one.said
        if said is None:
            return True
        return said.identity not in elsewhere and (one.note is not None or said.identity not in noted)

    return _outcome(order_id, as_live([one for one in merged(arrivals) if is_news(one)], rank))


def unknown_here(arrivals: Sequence[Arrival], live: Live) -> Iterator[Identity]:
    """Events that live has nowhere among what it has of the order."""
    known = {*live.applied.values(), *live.parked}
    known |= {one.note.identity for one in arrivals if one.note is not None and one.note.known and one.note.identity}
    for one in arrivals:
        if one.kind == "event" and one.said is not None and one.said.identity not in known:
            yield one.said.identity


def _outcome(order_id: str, arrivals: Sequence[Arrival]) -> Outcome:
    if len(arrivals) > _LONG:
        arrivals = by_version(arrivals)
    settled = reference.settle(_deliveries(order_id, arrivals))
    letters = [] if order_id in settled.erased else list(_letters(order_id, settled, arrivals))
    found = [note_row(one.note) for one in arrivals if one.note is not None and one.note.known and one.kind != "letter"]
    expected = Counter(map(_frozen, letters))
    beside = []
    for note in (one.note for one in arrivals if one.kind == "letter" and one.note is not None):
        if note.reason != "unreadable" and expected[_frozen(note_row(note))]:
            found.append(note_row(note))
        else:
            beside.append(note)
    history, waiting = settled.applied.get(order_id, []), settled.waiting.get(order_id, [])
    return Outcome(history, waiting, order_id in settled.erased, letters, found, beside)


def _deliveries(
    order_id: str, arrivals: Sequence[Arrival]
) -> Iterator[reference.Event | reference.Broken | reference.Tombstone]:
    decided = {one.note.identity for one in arrivals if one.note is not None and one.note.decides} - {None}
    rows: dict[Said, Row] = {}
    for one in arrivals:
        if one.kind == "tombstone":
            yield reference.Tombstone(order_id)
        elif one.kind == "broken":
            yield reference.Broken(order_id)
        elif one.kind == "event" and one.said is not None and one.said.identity not in decided:
            if one.said not in rows:
                rows[one.said] = event(order_id, one.said)
            yield reference.Event(rows[one.said])


def _letters(order_id: str, settled: reference.Settled, arrivals: Sequence[Arrival]) -> Iterator[Row]:
    for one in arrivals:
        if one.kind == "left" and one.note is not None:
            yield note_row(one.note)
    broken = (one.place for one in arrivals if one.kind == "broken")
    for reason, dead in settled.dead:
        if reason == "unreadable":
            yield letter_row(reason, order_id, next(broken))
        elif dead is not None:
            yield letter_row(reason, order_id, (dead["source"], dead["id"]))


def _same(one: Said, other: Said) -> bool:
    """Whether two events have one content, however its JSON is written."""
    return one[:-2] == other[:-2] and (one.text == other.text or sent(one) == sent(other))


def _alike(rows: list[Row], others: list[Row]) -> bool:
    """Whether they are the same, in any order."""
    return rows == others or Counter(map(_frozen, rows)) == Counter(map(_frozen, others))


def _frozen(row: Row) -> tuple[Any, ...]:
    return tuple(row.values())
