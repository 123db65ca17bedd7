"""What each event is: the decisions of one batch, as data.

Pure. Given the orders as they stand, what waits for them and which identities are known already, `judge` walks
the batch in arrival order and says for every record what becomes of it. Writing that down is the processor's.

    known identity          → duplicate
    erased order            → dropped
    version ≤ the order's   → version_conflict (its identity being new)
    version > next          → parked, until the hole before it closes
    version = next          → applied; refused by the fold: invalid_history, and the version stays where it is
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from schemas.errors import InvalidHistory
from schemas.events import Decoded, Event, Tombstone, Unreadable
from schemas.order import OrderState, evolve, evolve_in_place

Identity = tuple[str, str]  # (source, uuid): what the ledger's key stands for

Reason = Literal["unreadable", "version_conflict", "invalid_history", "projection_error"]


def identity(event: Event) -> Identity:
    return event.source, event.uuid


def erasure(order_id: str) -> Identity:
    """Stands for an order's erasure where an event has its identity: no source is empty."""
    return "", order_id


@dataclass(frozen=True)
class Letter:
    """A record on its way to the dead letters, with a reason a person can act on."""

    reason: Reason
    why: str
    of: Event | Unreadable


@dataclass
class Change:
    """What a batch does to one order: its state before and after, and the events in between, in version order."""

    before: OrderState
    after: OrderState
    applied: list[Event] = field(default_factory=list)
    # Another event of this order was parked or refused: the order has to be held while that is written,
    # or the event that it waits for could slip in between (the lost wake-up).
    held: bool = False
    erased: bool = False


@dataclass
class Verdicts:
    """The decisions of one batch. `parked` and `letters` hold new records; `unparked` is what no longer waits."""

    changes: dict[str, Change]
    parked: list[Event] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    unparked: list[Event] = field(default_factory=list)
    erased: list[Tombstone] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def newcomers(self) -> list[Event]:
        """Events that were neither applied nor known: their identities have still to be looked up in the ledger."""
        return self.parked + [letter.of for letter in self.letters if isinstance(letter.of, Event)]


def judge(
    batch: Iterable[Decoded],
    orders: Mapping[str, OrderState],
    waiting: Mapping[str, list[Event]],
    known: Collection[Identity],
    barred: Mapping[Identity, str] | None = None,
) -> Verdicts:
    """Decide a batch.

    `orders` has the state of every order that the batch names and that exists; `waiting` the events parked for
    them, in the order in which they came; `known` the identities among the batch's that are applied, parked or in
    dead letters already. `barred` names events on which a projection's own code fails, with the error.
    """
    return _Judgement(orders, waiting, known, barred or {}).of(batch)


class _Judgement:
    def __init__(
        self,
        orders: Mapping[str, OrderState],
        waiting: Mapping[str, list[Event]],
        known: Collection[Identity],
        barred: Mapping[Identity, str],
    ) -> None:
        self._orders = orders
        self._barred = barred
        self._seen = set(known)
        self._stored = {identity(event) for events in waiting.values() for event in events}
        self._queues = {order_id: _by_version(events) for order_id, events in waiting.items()}
        self._letters: dict[str, list[Letter]] = {}
        self._unreadable: list[Letter] = []
        self._left_queue: list[Event] = []
        self._result = Verdicts({})

    def of(self, batch: Iterable[Decoded]) -> Verdicts:
        for item in batch:
            if isinstance(item, Event):
                self._event(item)
            elif isinstance(item, Tombstone):
                self._erase(item)
            else:
                self._unreadable_record(item)
        return self._finish()

    def _event(self, event: Event) -> None:
        order_id = event.order_id
        change = self._result.changes.get(order_id) or self._change(order_id)
        who = (event.source, event.uuid)
        if change.after.erased:
            self._result.counts["erased"] += 1
        elif who in self._seen:
            self._result.counts["duplicate"] += 1
        else:
            self._seen.add(who)
            ahead = event.version - change.after.version
            if ahead == 1:
                if self._apply(change, event) and order_id in self._queues:
                    self._drain(change)
            elif ahead > 1:
                change.held = True
                self._queues.setdefault(order_id, {}).setdefault(event.version, []).append(event)
                self._result.counts["parked"] += 1
            else:
                self._conflict(change, event)

    def _unreadable_record(self, item: Unreadable) -> None:
        change = None if item.order_id is None else self._change(item.order_id)
        if change is not None and change.after.erased:
            self._result.counts["erased"] += 1  # it may hold what the erasure was for
            return
        if change is not None:
            change.held = True  # or an erasure at the same moment would not see the letter
        self._unreadable.append(Letter("unreadable", item.why, item))
        self._result.counts["unreadable"] += 1

    def _change(self, order_id: str) -> Change:
        change = self._result.changes.get(order_id)
        if change is None:
            state = self._orders.get(order_id) or OrderState(order_id)
            change = self._result.changes[order_id] = Change(state, state)
        return change

    def _apply(self, change: Change, event: Event) -> bool:
        error = self._barred.get(identity(event)) if self._barred else None
        if error is not None:
            self._letter(change, Letter("projection_error", error, event))
            return False
        try:
            if change.applied:  # then the state is one that this batch has made
                evolve_in_place(change.after, event)
            else:
                change.after = evolve(change.after, event)
        except InvalidHistory as refusal:
            self._letter(change, Letter("invalid_history", refusal.why, event))
            return False
        change.applied.append(event)
        return True

    def _drain(self, change: Change) -> None:
        """Apply what waited for this version, and for the next, as far as it goes; the first that came goes first."""
        queue = self._queues[change.after.order_id]
        while (candidates := queue.pop(change.after.version + 1, None)) is not None:
            for event in candidates:
                self._left_queue.append(event)
                if event.version <= change.after.version:
                    self._conflict(change, event)
                else:
                    self._apply(change, event)
            if not change.applied or change.applied[-1].version != candidates[0].version:
                return  # every one of them was refused: the hole stays
        for version in [version for version in queue if version <= change.after.version]:
            for event in queue.pop(version):
                self._left_queue.append(event)
                self._conflict(change, event)

    def _conflict(self, change: Change, event: Event) -> None:
        why = f"version {event.version} of this order is taken: it stands at {change.after.version}"
        self._letter(change, Letter("version_conflict", why, event))

    def _letter(self, change: Change, letter: Letter) -> None:
        change.held = True
        self._letters.setdefault(change.after.order_id, []).append(letter)
        self._result.counts[letter.reason] += 1

    def _erase(self, tombstone: Tombstone) -> None:
        """The order vanishes, with all that this batch has done for it so far."""
        change = self._change(tombstone.order_id)
        error = self._barred.get(erasure(tombstone.order_id))
        if error is not None:
            self._letter(
                change, Letter("projection_error", error, Unreadable(error, tombstone.order_id, None, tombstone.record))
            )
            return
        if change.after.erased:
            self._result.counts["duplicate"] += 1
            return
        change.after = OrderState(tombstone.order_id, version=change.after.version, erased=True)
        change.erased = True
        change.applied.clear()
        self._queues.pop(tombstone.order_id, None)
        self._letters.pop(tombstone.order_id, None)
        self._unreadable = [letter for letter in self._unreadable if _order_of(letter) != tombstone.order_id]
        self._result.erased.append(tombstone)
        self._result.counts["tombstone"] += 1

    def _finish(self) -> Verdicts:
        result = self._result
        gone = {order_id for order_id, change in result.changes.items() if change.after.erased}
        result.letters = self._unreadable + [one for letters in self._letters.values() for one in letters]
        for queue in self._queues.values():
            for events in queue.values():
                result.parked += [event for event in events if identity(event) not in self._stored]
        result.unparked = [
            event for event in self._left_queue if identity(event) in self._stored and event.order_id not in gone
        ]
        result.counts["applied"] = sum(len(change.applied) for change in result.changes.values())
        return result


def _by_version(events: Iterable[Event]) -> dict[int, list[Event]]:
    queue: dict[int, list[Event]] = {}
    for event in events:
        queue.setdefault(event.version, []).append(event)
    return queue


def _order_of(letter: Letter) -> str | None:
    return letter.of.order_id
