"""Rebuilds against the reference model, under whatever hypothesis comes up with.

Arbitrary events as the processor's machine has them, and between them, and at the steps of rebuilds: kills, ways back,
one order mended, rows damaged and made anew. After each step all is as the reference makes it of what was applied.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import asyncpg
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from consumer.rebuild.leftovers import cancel, drop_old
from consumer.rebuild.one_order import rebuild_order
from consumer.rebuild.rollback import rollback
from tests.integration import test_processor_machine as processor
from tests.support.engine import Engine
from tests.support.machine import play
from tests.support.rebuilding import POINTS, Shop, Steps, journal, leftovers, rebuild
from tests.support.rebuilds import settings_of

_BEHIND = ("rebuild_align", "rebuild_swap_locked", "rebuild_swap", "rebuild_swapped")
_ORDERS = st.sampled_from(("a", "b", "c"))
_STORED = ("customer_summary", "product_sales_daily", "fulfilment_queue")
_TABLES = (
    "ledger, orders, parked_events, dead_letters, checkpoints, event_sources, rebuilds, touched_orders, "
    "customer_summary, product_sales_daily, fulfilment_queue"
)
_DAMAGE = (
    "UPDATE projector.orders SET status = 'odd', total = total + 1, customer_id = 'c-2' WHERE order_id = $1",
    "UPDATE projector.customer_summary SET orders = orders + 1 WHERE customer_id <> $1",
    "DELETE FROM projector.fulfilment_queue WHERE order_id = $1",
)
_KNOWN = "SELECT EXISTS (SELECT FROM projector.orders WHERE order_id = $1 AND (version > 0 OR erased))"


class Killed(BaseException):
    """As by SIGKILL."""


class _Machine(RuleBasedStateMachine):
    def __init__(self, runner: asyncio.Runner, pool: asyncpg.Pool[asyncpg.Record], url: str) -> None:
        super().__init__()
        self._runner, self._pool, self._settings = runner, pool, settings_of(url)
        self._url = url
        self._killed = self._swapped = False

    def do(self, work: Awaitable[Any]) -> Any:
        async def done() -> Any:
            return await work

        return self._runner.run(done())

    @initialize()
    def empty(self) -> None:
        self.do(cancel(self._settings))
        self.do(drop_old(self._settings))
        tables = ", ".join(f"projector.{name.strip()}" for name in _TABLES.split(","))
        self.do(self._pool.execute(f"TRUNCATE {tables} RESTART IDENTITY"))
        self.shop = Shop(Engine(self._pool))

    @rule(events=st.lists(processor._events(), min_size=1, max_size=8), partition=st.integers(0, 2))
    def applied(self, events: list[dict[str, Any]], partition: int) -> None:
        self.do(self.shop.tell(*events, partition=partition))

    @rule(events=st.lists(processor._events(), min_size=1, max_size=4))
    def written_beside(self, events: list[dict[str, Any]]) -> None:
        self.do(self.shop.write(*events))

    @rule(order=_ORDERS, luck=st.integers(0, 3))
    def erased(self, order: str, luck: int) -> None:
        if luck == 0:
            self.do(self.shop.erase(order))

    @rule(
        names=st.lists(st.sampled_from(("order_summary", *_STORED)), max_size=2, unique=True),
        size=st.sampled_from((1, 3, 100)),
        at=st.dictionaries(st.sampled_from(POINTS), st.lists(processor._events(), max_size=4), max_size=3),
    )
    def rebuilt(self, names: list[str], size: int, at: dict[str, list[dict[str, Any]]]) -> None:
        done = self.do(rebuild(self._url, *names, at=self._steps(at), source=journal(size)))
        assert (done.state, done.comparison.counts) == ("swapped", {})
        assert self.do(leftovers(self.shop.fed)) == []
        self._killed, self._swapped = False, True

    @rule(
        point=st.sampled_from((*POINTS, *_BEHIND)),
        at=st.dictionaries(st.sampled_from(POINTS), st.lists(processor._events(), max_size=4), max_size=2),
    )
    def killed(self, point: str, at: dict[str, list[dict[str, Any]]]) -> None:
        async def die() -> None:
            raise Killed

        steps = {**self._at(at), point: die}
        try:
            self.do(rebuild(self._url, at=Steps(steps), source=journal(3)))
        except Killed:
            self._killed = True
        self._swapped = self._swapped or not self._killed or point == "rebuild_swapped"
        if self._killed and point in ("rebuild_align", "rebuild_swap_locked", "rebuild_swap"):
            self._swapped = False  # its first step towards the swap was to drop what was there from the last one

    @precondition(lambda self: self._swapped)
    @rule()
    def gone_back(self) -> None:
        assert self.do(rollback(self._settings)).state == "swapped"

    @precondition(lambda self: self._killed)
    @rule()
    def cancelled(self) -> None:
        self.do(cancel(self._settings))
        assert self.do(leftovers(self.shop.fed)) == []
        self._killed = False

    @rule(order=_ORDERS, damage=st.none() | st.sampled_from(_DAMAGE))
    def mended(self, order: str, damage: str | None) -> None:
        if damage is not None and "customer_summary" not in damage:
            self.do(self._pool.execute(damage, order))
        if self.do(self._pool.fetchval(_KNOWN, order)):
            self.do(rebuild_order(self._settings, order))

    @rule(order=_ORDERS, damage=st.sampled_from(_DAMAGE))
    def damaged_and_made_anew(self, order: str, damage: str) -> None:
        self.do(self._pool.execute(damage, order))
        assert self.do(rebuild(self._url, accept=True)).state == "swapped"
        self._killed = self._swapped = False  # there is no going back to what is damaged

    @invariant()
    def never_wrong(self) -> None:
        if hasattr(self, "shop"):
            assert self.do(self.shop.differences()) == []

    def _steps(self, at: dict[str, list[dict[str, Any]]]) -> Steps:
        return Steps(self._at(at))

    def _at(self, at: dict[str, list[dict[str, Any]]]) -> dict[str, Callable[[], Awaitable[Any]]]:
        return {point: partial(self._once, events) for point, events in at.items()}

    async def _once(self, events: list[dict[str, Any]]) -> None:
        some, events[:] = [*events], []  # a point may be reached again
        if some:
            await self.shop.tell(*some)


def test_whatever_comes_before_and_meanwhile_a_rebuild_changes_nothing(database_url: str) -> None:
    play(lambda runner, pool: _Machine(runner, pool, database_url), database_url, runs=10, steps=10)
