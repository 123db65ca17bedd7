"""The database's books in plain dicts: what one batch leaves for the next, exactly as the tables would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from consumer.verdicts import Identity, Letter, Verdicts, identity, judge
from schemas.events import Decoded, Event
from schemas.order import OrderState


@dataclass
class Books:
    """Orders, ledger, parked events and dead letters, with the constraints that the tables have."""

    orders: dict[str, OrderState] = field(default_factory=dict)
    ledger: dict[Identity, Event] = field(default_factory=dict)
    parked: list[Event] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def take(self, batch: Iterable[Decoded], barred: dict[Identity, str] | None = None) -> Verdicts:
        """Judge a batch and write it down."""
        waiting: dict[str, list[Event]] = {}
        for event in self.parked:
            waiting.setdefault(event.order_id, []).append(event)
        verdicts = judge(batch, self.orders, waiting, self.known(), barred)
        self._write(verdicts)
        return verdicts

    def known(self) -> set[Identity]:
        events = [letter.of for letter in self.letters if isinstance(letter.of, Event)]
        return {*self.ledger, *map(identity, self.parked), *map(identity, events)}

    def history(self, order: str) -> list[Event]:
        """The events applied to an order, in version order."""
        return sorted((e for e in self.ledger.values() if e.order_id == order), key=lambda event: event.version)

    def versions(self, order: str = "o-1") -> list[str]:
        """The ids applied to an order, in version order."""
        return [event.id for event in self.history(order)]

    def reasons(self) -> list[tuple[str, str | None]]:
        return [(one.reason, one.of.id if isinstance(one.of, Event) else one.of.event_id) for one in self.letters]

    def _write(self, verdicts: Verdicts) -> None:
        for order_id, change in verdicts.changes.items():
            if change.applied or change.held or change.erased:
                self.orders[order_id] = change.after
        for tombstone in verdicts.erased:
            self._erase(tombstone.order_id)
        for event in (event for change in verdicts.changes.values() for event in change.applied):
            assert identity(event) not in self.ledger, "the ledger's primary key"
            assert all(event.version != other.version for other in self.history(event.order_id)), "its unique version"
            self.ledger[identity(event)] = event
        for event in verdicts.unparked:
            self.parked.remove(event)
        self.parked += verdicts.parked
        self.letters += verdicts.letters
        self.counts += verdicts.counts
        assert len(set(map(identity, self.parked))) == len(self.parked), "the parked events' primary key"

    def _erase(self, order_id: str) -> None:
        self.ledger = {who: event for who, event in self.ledger.items() if event.order_id != order_id}
        self.parked = [event for event in self.parked if event.order_id != order_id]
        self.letters = [letter for letter in self.letters if letter.of.order_id != order_id]
