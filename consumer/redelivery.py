"""Dead letters tried again: an order's in version order, with what is parked behind them, in one transaction an order.

A letter is marked as retried first, so that its event is no longer known by it; then its record goes the way of
every record, `Projection.apply`. What is refused has its letter open again, by the same write that makes new ones.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from consumer import letters, order_store
from consumer.install import NOBODYS_SHARD, stay
from consumer.letters import NOTHING_BEHIND, Behind, OpenLetter, Selection
from consumer.projection import Projection
from consumer.verdicts import Letter, Reason, Verdicts
from runtime.attempts import OnRetry, until_done
from runtime.postgres import leased
from schemas.connection import Connection, Pool
from schemas.errors import TryAgain, Unstorable
from schemas.events import Decoded, Event, Tombstone

_TRIES = 6  # of one order: a lock that somebody holds on it, say. Some seconds, or as many lock timeouts

Becomes = Literal["applied", "parked", "duplicate", "erased", "refused"]


@dataclass(frozen=True)
class Fate:
    """What becomes of one letter; refused, with the reason and the error."""

    letter: int
    becomes: Becomes
    reason: Reason | None = None
    error: str | None = None


@dataclass(frozen=True)
class Refusal:
    """An event that was parked, whose turn came, and which could not be applied: a new letter."""

    event_id: str | None
    version: int | None
    reason: Reason
    error: str


@dataclass(frozen=True)
class Retried:
    """What becomes of an order's letters, and of what waits behind them.

    `applied` counts events, those that were parked too; `behind` is what stays parked; `refused` are new letters.
    `failed`: PostgreSQL did not let it through; the letters that `unreached` names are as they were.
    """

    order_id: str | None
    letters: tuple[Fate, ...] = ()
    applied: int = 0
    behind: Behind = NOTHING_BEHIND
    refused: tuple[Refusal, ...] = ()
    failed: str | None = None
    unreached: tuple[int, ...] = ()

    @property
    def clean(self) -> bool:
        """Nothing is left to be done about these letters."""
        return not (self.failed or self.refused or any(fate.becomes == "refused" for fate in self.letters))

    def __add__(self, later: Retried) -> Retried:
        return Retried(
            self.order_id,
            self.letters + later.letters,
            self.applied + later.applied,
            later.behind,
            self.refused + later.refused,
            self.failed or later.failed,
            self.unreached + later.unreached,
        )


class Redelivery:
    """Tries letters again in the name of `by`. Unless `execute`, every transaction is rolled back at its end.

    `make` gives a new projection for each try: one that learnt the numbers of sources in a transaction that was
    rolled back must not be used again.
    """

    def __init__(
        self,
        pool: Pool,
        make: Callable[[], Projection],
        by: str,
        *,
        execute: bool,
        on_retry: OnRetry = lambda error, attempt: None,
    ) -> None:
        self._pool = pool
        self._make = make
        self._by = by
        self._execute = execute
        self._on_retry = on_retry

    async def run(self, selection: Selection) -> AsyncIterator[Retried]:
        """Order by order, the one with the oldest letter first. What one order fails with doesn't stop the others.

        Raises Unavailable if two orders in a row can't be reached: then it isn't the order.
        """
        out_of_reach = False
        for order_id, ids in await self._by_order(selection):
            try:
                done = await self._order(order_id, ids)
            except TryAgain as error:
                if out_of_reach:
                    raise
                done = Retried(order_id, failed=str(error), unreached=tuple(ids))
            out_of_reach = done.failed is not None
            yield done

    async def _by_order(self, selection: Selection) -> list[tuple[str | None, list[int]]]:
        """The letters that are meant, in version order, by order; one that names no order is on its own."""
        found: dict[str | int, list[tuple[float, int]]] = {}
        async with leased(self._pool, letters.ACQUIRE) as connection:
            async for letter in letters.selected(connection, selection):
                place = letter.id if letter.order_id is None else letter.order_id
                found.setdefault(place, []).append(_turn(letter))
        return [
            (place if isinstance(place, str) else None, [number for _, number in sorted(theirs)])
            for place, theirs in found.items()
        ]

    async def _order(self, order_id: str | None, ids: Sequence[int]) -> Retried:
        try:
            return await until_done(partial(self._once, order_id, ids), self._on_retry, careful=True, tries=_TRIES)
        except Unstorable as error:
            if len(ids) == 1:
                return await until_done(partial(self._refused, order_id, ids, str(error)), tries=_TRIES)
            return await self._one_by_one(order_id, ids)  # a transaction each, as one of them can't be

    async def _one_by_one(self, order_id: str | None, ids: Sequence[int]) -> Retried:
        """What one of them fails with leaves those before it as they are by then, and those behind it alone."""
        done = await self._order(order_id, ids[:1])
        for place in range(1, len(ids)):
            try:
                done += await self._order(order_id, ids[place : place + 1])
            except TryAgain as error:
                return done + Retried(order_id, behind=done.behind, failed=str(error), unreached=tuple(ids[place:]))
        return done

    async def _once(self, order_id: str | None, ids: Sequence[int], *, careful: bool) -> Retried:
        projection = self._make()
        async with letters.transaction(self._pool, keep=self._execute) as connection:
            await stay(connection, projection.models)
            found = sorted(await letters.open_among(connection, ids), key=_turn)
            if not found:
                return Retried(order_id)  # somebody else was faster
            items = [letter.item for letter in found]
            await projection.prepare(connection, items)
            # Orders before letters, as in every batch: an erasure holds its order while it deletes letters.
            named = {item.order_id for item in items if item.order_id is not None}
            await order_store.read(connection, named, hold=True)
            await letters.take(connection, found, self._by)
            outcome = await projection.apply(connection, items, NOBODYS_SHARD, careful=careful)
            assert outcome.verdicts is not None
            return await self._settled(connection, order_id, found, outcome.verdicts)

    async def _refused(self, order_id: str | None, ids: Sequence[int], error: str, *, careful: bool) -> Retried:
        """PostgreSQL can't hold what would follow from a letter: it stays as it is."""
        async with letters.transaction(self._pool, keep=self._execute) as connection:
            found = await letters.open_among(connection, ids)
            await letters.failed(connection, [letter.id for letter in found], error)
            behind = await letters.behind(connection, [order_id])
            fates = [Fate(letter.id, "refused", letter.reason, error) for letter in found]
            return Retried(order_id, tuple(fates), behind=behind.get(order_id, NOTHING_BEHIND))

    async def _settled(
        self,
        connection: Connection,
        order_id: str | None,
        found: Sequence[OpenLetter],
        verdicts: Verdicts,
    ) -> Retried:
        """Note on each letter what became of it, and say so."""
        fates = [fate(letter.id, letter.item, verdicts) for letter in found]
        behind = await letters.behind(connection, [order_id])
        await letters.forget(connection, [one.letter for one in fates if one.becomes == "erased"])
        await letters.note(connection, {one.letter: one.becomes for one in fates if one.becomes in _DONE})
        ours = {id(letter.item.record) for letter in found}
        return Retried(
            order_id,
            tuple(fates),
            verdicts.counts["applied"],
            behind.get(order_id, NOTHING_BEHIND),
            tuple(_refusal(letter) for letter in verdicts.letters if id(letter.of.record) not in ours),
        )


_DONE = ("applied", "parked", "duplicate")


def fate(letter: int, item: Decoded, verdicts: Verdicts) -> Fate:
    """What the verdicts say of a letter's record."""
    again = next((one for one in verdicts.letters if one.of.record is item.record), None)
    if again is not None:
        return Fate(letter, "refused", again.reason, again.why)
    change = None if item.order_id is None else verdicts.changes[item.order_id]
    if change is not None and change.after.erased:
        return Fate(letter, "erased")
    if change is not None and any(one is item for one in change.applied):
        return Fate(letter, "applied")
    return Fate(letter, "parked" if any(one is item for one in verdicts.parked) else "duplicate")


def _turn(letter: OpenLetter) -> tuple[float, int]:
    """Version order; an erasure before everything else, what can't be read after it."""
    item = letter.item
    if isinstance(item, Event):
        return item.version, letter.id
    return (0 if isinstance(item, Tombstone) else float("inf")), letter.id


def _refusal(letter: Letter) -> Refusal:
    of = letter.of
    if isinstance(of, Event):
        return Refusal(of.id, of.version, letter.reason, letter.why)
    return Refusal(of.event_id, None, letter.reason, letter.why)
