"""Decoded events into the database: the one path that live work, replay and local writes share.

`Projection.apply` runs inside the caller's transaction and takes a constant number of statements, whatever the
number of events: sources are known, then one look and, where it shows a need, more; then the writes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from consumer import batch_store, ledger, order_store, pending
from consumer.batch_store import BatchStore, Writes
from consumer.ledger import SourceNumbers
from consumer.read_model_store import Delta, ProjectionFailed, ReadModelStore
from consumer.read_models import ReadModel
from consumer.verdicts import Change, Identity, Letter, Verdicts, erasure, identity, judge
from schemas.connection import Connection
from schemas.events import KNOWN_TYPES, Decoded, Event
from schemas.order import OrderState, evolve


@dataclass(frozen=True)
class Outcome:
    """What became of a batch: records by outcome, the orders that have a new version, and those that were erased.

    `verdicts` tells it record by record, of a single batch; a sum of several has none.
    """

    counts: Counter[str] = field(default_factory=Counter)
    orders: dict[str, int] = field(default_factory=dict)
    erased: frozenset[str] = frozenset()
    verdicts: Verdicts | None = None

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(self.counts + other.counts, self.orders | other.orders, self.erased | other.erased)


class Projection:
    """The read models' write path. One per process; it keeps nothing but the sources' numbers."""

    def __init__(self, models: Sequence[ReadModel]) -> None:
        self.models = models
        self._store = ReadModelStore(models)
        self._batches = BatchStore(self._store)
        self.sources = SourceNumbers()

    async def prepare(self, connection: Connection, items: Sequence[Decoded]) -> None:
        """Learn what has to outlive a rollback. To be called before the transaction that calls `apply`."""
        await self.sources.learn(connection, (item.source for item in items if isinstance(item, Event)))

    async def apply(
        self, connection: Connection, items: Sequence[Decoded], shard: int, *, careful: bool = False
    ) -> Outcome:
        """Apply a batch. Raises LostRace if another writer was first: roll back and call again, `careful`.

        Careful work locks the orders first and asks the ledger about every identity, not only the doubtful ones.
        """
        order_ids = list({item.order_id for item in items if item.order_id is not None})
        events = [item for item in items if isinstance(item, Event)]
        everyone = list({(event.source, event.uuid) for event in events})
        if careful:
            await order_store.lock(connection, order_ids)
        orders, any_pending, any_waiting = await batch_store.look(connection, order_ids, everyone, self.sources)
        stands = {order_id: state.version for order_id, state in orders.items()}
        known = await self._known(connection, events, stands, everyone if careful else None)
        if any_pending:
            known |= await ledger.pending(connection, everyone, self.sources)
        ready = {event.order_id for event in events if event.version == stands.get(event.order_id, 0) + 1}
        waiting, spoilt = await self._waiting(connection, sorted(ready) if any_waiting else [])
        stale = await self._stale(connection, waiting) if careful else []
        verdicts, delta = await self._decide(connection, items, orders, waiting, known)
        _bury(verdicts, spoilt)
        await self._write(connection, verdicts, delta, orders, _Leaving(stale, spoilt), shard)
        return _outcome(verdicts)

    async def _known(
        self, connection: Connection, events: list[Event], stands: Mapping[str, int], doubtful: list[Identity] | None
    ) -> set[Identity]:
        """Identities that were applied. Unless it is said which ones are doubtful, the ledger is asked about events
        behind their turn alone: the insert itself finds a known one among those that are in turn, and the batch is then
        done again, carefully."""
        behind = [event for event in events if event.version <= stands.get(event.order_id, 0)] if stands else []
        if doubtful is None:
            doubtful = list({identity(event) for event in behind})
        known = await ledger.known(connection, doubtful, self.sources)
        unknown = [event for event in behind if identity(event) not in known]
        return known | await self._forgotten(connection, unknown)

    async def _forgotten(self, connection: Connection, behind: list[Event]) -> set[Identity]:
        """Identities of versions whose history was dropped: that the id was another one can't be told any more."""
        pruned = await ledger.pruned(connection, sorted({event.order_id for event in behind}))
        return {identity(event) for event in behind if event.version <= pruned.get(event.order_id, 0)}

    async def _waiting(self, connection: Connection, order_ids: Sequence[str]) -> pending.Waiting:
        """What is parked for these orders. Its sources have their numbers, though this process may never have met
        them: to learn them inside the transaction adds none, so a rollback takes none back."""
        waiting = await pending.waiting(connection, order_ids)
        await self.sources.learn(connection, (event.source for events in waiting.events.values() for event in events))
        return waiting

    async def _stale(self, connection: Connection, waiting: dict[str, list[Event]]) -> list[Event]:
        """Parked events whose identity was applied under another order or version. Taken out of `waiting`."""
        parked = [event for events in waiting.values() for event in events]
        applied = await ledger.known(connection, [identity(event) for event in parked], self.sources)
        for order_id, events in waiting.items():
            waiting[order_id] = [event for event in events if identity(event) not in applied]
        return [event for event in parked if identity(event) in applied]

    async def _decide(
        self,
        connection: Connection,
        items: Sequence[Decoded],
        orders: order_store.Orders,
        waiting: dict[str, list[Event]],
        known: set[Identity],
    ) -> tuple[Verdicts, Delta]:
        """Judge until nothing is left to ask: newcomers that the ledger knows after all, read models that fail."""
        barred: dict[Identity, str] = {}
        asked: set[Identity] = set()
        while True:
            verdicts = judge(items, orders, waiting, known, barred)
            unasked = list({identity(event) for event in verdicts.newcomers()} - asked - known)
            asked.update(unasked)
            if found := await ledger.known(connection, unasked, self.sources):
                known |= found
                continue
            try:
                return verdicts, self._store.derive(verdicts.changes.values())
            except ProjectionFailed as failure:
                barred |= self._culprits(verdicts, failure)

    def _culprits(self, verdicts: Verdicts, failure: ProjectionFailed) -> dict[Identity, str]:
        """The first event of each order, or the erasure, on which a read model's own code fails."""
        found = {}
        for change in verdicts.changes.values():
            steps = [(erasure(change.after.order_id), change.after)] if change.erased else _steps(change)
            for who, state in steps:
                try:
                    self._store.derive([Change(change.before, state)])
                except ProjectionFailed as error:
                    found[who] = str(error)
                    break
        assert found, failure  # it failed on one of these changes, and so on one of their steps
        return found

    async def _write(
        self,
        connection: Connection,
        verdicts: Verdicts,
        delta: Delta,
        orders: order_store.Orders,
        leaving: _Leaving,
        shard: int,
    ) -> None:
        """The orders first, so that two batches meet there and nowhere else."""
        touched = [change for change in verdicts.changes.values() if change.applied or change.held or change.erased]
        applied = [event for change in touched for event in change.applied]
        erased = [tombstone.order_id for tombstone in verdicts.erased]
        writes = Writes([change.after for change in touched], orders.revisions, applied, erased, delta)
        await self._batches.write(connection, writes, self.sources, shard)
        await pending.unpark(connection, verdicts.unparked + leaving.stale, leaving.spoilt, self.sources)
        await pending.park(connection, verdicts.parked, self.sources)
        await pending.bury(connection, verdicts.letters, self.sources)


class _Leaving(NamedTuple):
    """What is parked no longer, though its turn has not come: applied elsewhere meanwhile, or not to be read."""

    stale: list[Event]
    spoilt: list[pending.Spoilt]


def _bury(verdicts: Verdicts, spoilt: Iterable[pending.Spoilt]) -> None:
    """What was parked and can't be read is a letter, or nobody would ever hear of it; the order's erasure takes it."""
    erased = {tombstone.order_id for tombstone in verdicts.erased}
    for one in spoilt:
        if one.record.order_id not in erased:
            verdicts.letters.append(Letter("unreadable", one.record.why, one.record))
            verdicts.counts["unreadable"] += 1


def _steps(change: Change) -> Iterator[tuple[Identity, OrderState]]:
    """The state after each event of a change."""
    state = change.before
    for event in change.applied:
        state = evolve(state, event)
        yield identity(event), state


def _outcome(verdicts: Verdicts) -> Outcome:
    counts = verdicts.counts
    for change in verdicts.changes.values():
        counts["unknown_type"] += sum(event.type not in KNOWN_TYPES for event in change.applied)
    return Outcome(
        counts,
        {order_id: change.after.version for order_id, change in verdicts.changes.items() if change.applied},
        frozenset(tombstone.order_id for tombstone in verdicts.erased),
        verdicts,
    )
