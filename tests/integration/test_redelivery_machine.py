"""Retries and discards at any moment against the reference model, under whatever hypothesis comes up with.

Arbitrary events, records that an older version can't read and a newer one can, broken records, tombstones, batches
and restarts; letters retried, for real and dry, by order, reason and id, with crashes; letters discarded.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import asyncpg
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from consumer import reference
from consumer.discard import discard
from consumer.letters import Selection
from consumer.projection import Outcome, Projection
from consumer.read_models import READ_MODELS
from consumer.redelivery import Redelivery, Retried
from tests.integration.test_processor_machine import _LATER, _TABLES
from tests.support.engine import Engine, attributes, placed
from tests.support.machine import play
from tests.support.redelivery import Delivery, of_places, run_as_older

Place = tuple[int, int]  # partition and offset

_ORDERS = ("a", "b")
_LETTERS = 'SELECT id, partition, "offset" FROM projector.dead_letters WHERE resolved_at IS NULL ORDER BY id'


@st.composite
def _events(draw: st.DrawFn) -> dict[str, Any]:
    """An event of a world so small that versions and ids collide often. Equal ids have equal content."""
    order, version = draw(st.sampled_from(_ORDERS)), draw(st.sampled_from((1, 1, 1, 2, 2, 3, 4)))
    if version == 1 and draw(st.booleans()):
        return placed(order, id_=f"{order}-placed")
    choice = draw(st.integers(0, 3))
    kind, data = (*_LATER[:3], ("order.placed", placed(order)["data"]))[choice]
    return attributes(order, version, kind, data, id_=f"{order}-{version}-{choice}")


_selections = st.one_of(
    st.just(Selection()),
    st.builds(Selection, order_id=st.sampled_from(_ORDERS)),
    st.builds(Selection, reason=st.sampled_from(("unreadable", "version_conflict", "invalid_history"))),
)


class _Crash(Projection):
    """A process that dies before its transaction has ended."""

    async def apply(self, *arguments: Any, **more: Any) -> Outcome:
        await super().apply(*arguments, **more)
        raise RuntimeError("crash")


class _Machine(RuleBasedStateMachine):
    def __init__(self, runner: asyncio.Runner, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        super().__init__()
        self._runner = runner
        self._pool = pool
        self._meant: dict[Place, Delivery] = {}
        self._done: list[tuple[Place, Delivery]] = []  # as the reference model is to take them

    @initialize()
    def empty(self) -> None:
        self._runner.run(self._truncate())
        self.engine = Engine(self._pool)
        self.engine.logs = {0: [], 1: []}

    @rule(events=st.lists(_events(), min_size=1, max_size=6), partition=st.integers(0, 1))
    def send(self, events: list[dict[str, Any]], partition: int) -> None:
        for event in events:
            self.engine.send(event, partition=partition)
            self._note(partition, reference.Event(event))

    @rule(partition=st.integers(0, 1))
    def send_broken(self, partition: int) -> None:
        self.engine.append(b"{", partition=partition)
        self._note(partition, reference.Broken())

    @rule(order=st.sampled_from(_ORDERS), luck=st.integers(0, 7))
    def send_tombstone(self, order: str, luck: int) -> None:
        if luck == 0:
            self.engine.append(None, partition=0, key=order.encode())
            self._note(0, reference.Tombstone(order))

    @rule()
    def apply(self) -> None:
        self._apply(set())

    @rule(luck=st.randoms(use_true_random=False))
    def apply_as_older(self, luck: Any) -> None:
        self._apply({place for place, meant in self._meant.items() if luck.randrange(3) == 0 and _is_event(meant)})

    @rule()
    def restart(self) -> None:
        self.engine.start()

    @rule(selection=_selections)
    def retry(self, selection: Selection) -> None:
        self._retry(selection)

    @rule(which=st.integers(0, 5))
    def retry_one(self, which: int) -> None:
        places = self._open()
        if places:
            self._retry(Selection(ids=(list(places)[which % len(places)],)))

    @rule(selection=_selections)
    def retry_dry(self, selection: Selection) -> None:
        self._runner.run(self._redelivered(selection, execute=False))

    @rule()
    def retry_and_crash(self) -> None:
        if self._open():
            with pytest.raises(RuntimeError, match="crash"):
                self._runner.run(self._redelivered(Selection(), execute=True, make=lambda: _Crash(READ_MODELS)))

    @rule(which=st.integers(0, 5))
    def give_up(self, which: int) -> None:
        if places := self._open():
            letter = list(places)[which % len(places)]
            self._runner.run(discard(self._pool, [letter], why="why", by="me", execute=True))

    @invariant()
    def never_torn(self) -> None:
        """After every step the database is what the reference makes of what was delivered, and retried, so far."""
        if hasattr(self, "engine"):
            assert self._runner.run(self.engine.differences([delivery for _, delivery in self._done])) == []

    def _note(self, partition: int, meaning: Delivery) -> None:
        self._meant[partition, len(self.engine.logs[partition]) - 1] = meaning

    def _apply(self, unread: set[Place]) -> None:
        """Apply what is in the logs; what an older version can't read is a broken record to it."""
        self._runner.run(self.engine.take())
        batch = [(record.partition, record.offset) for record in self.engine.next_batch()]
        if batch:
            self._runner.run(run_as_older(self.engine, of_places(unread)))
            self._done += [(place, reference.Broken() if place in unread else self._meant[place]) for place in batch]

    def _retry(self, selection: Selection) -> None:
        """To the reference model a retried event comes now: neither it nor, if it was known, a copy came before."""
        places = self._open()
        for one in self._runner.run(self._redelivered(selection, execute=True)):
            for fate in one.letters:
                place = places[fate.letter]
                meant = self._meant[place]
                if _is_event(meant):
                    was_read = any(there == place and _is_event(delivery) for there, delivery in self._done)
                    gone = [meant] if was_read else []
                    self._done = [item for item in self._done if item[0] != place and item[1] not in gone]
                    self._done.append((place, meant))

    async def _redelivered(self, selection: Selection, *, execute: bool, make: Any = None) -> list[Retried]:
        make = make or partial(Projection, READ_MODELS)
        return [one async for one in Redelivery(self._pool, make, "me", execute=execute).run(selection)]

    def _open(self) -> dict[int, Place]:
        rows = self._runner.run(self.engine.fetch(_LETTERS))
        return {row["id"]: (row["partition"], row["offset"]) for row in rows}

    async def _truncate(self) -> None:
        tables = ", ".join(f"projector.{name.strip()}" for name in _TABLES.split(","))
        async with self._pool.acquire() as connection:
            await connection.execute(f"TRUNCATE {tables} RESTART IDENTITY")


def _is_event(delivery: Delivery) -> bool:
    return isinstance(delivery, reference.Event)


def test_whatever_is_retried_or_given_up_the_database_is_what_was_meant(database_url: str) -> None:
    play(_Machine, database_url, runs=60, steps=25)
