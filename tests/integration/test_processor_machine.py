"""The processor against the reference model, under whatever hypothesis comes up with.

Arbitrary events (duplicates, holes, conflicts, invalid histories, reused ids, unknown types, broken records,
tombstones), arbitrary partitions and batch splits, crashes before and after the database's commit, restarts, and
an owner who doesn't know that it was replaced.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import ExitStack
from typing import Any

import asyncpg
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from consumer import reference
from consumer.processor import Holds
from schemas.errors import OutOfPlace
from schemas.events import StoredRecord
from tests.support.engine import COPIED, Engine, attributes, copied_from, placed
from tests.support.machine import play

_ORDERS = ("a", "b", "c")
_VERSIONS = st.integers(1, 5)
_TABLES = (
    "ledger, orders, parked_events, dead_letters, checkpoints, event_sources, "
    "customer_summary, product_sales_daily, fulfilment_queue"
)

_LATER: list[tuple[str, Any]] = [
    ("order.confirmed", None),
    ("order.payment_captured", {"payment_id": "p", "amount": "25.00"}),
    ("order.payment_failed", {"payment_id": "p", "reason": "card"}),
    ("order.line_added", {"line": {"sku": "sku-1", "quantity": 10**30, "unit_price": "12.5"}}),
    ("order.line_added", {"line": {"sku": "sku-2", "quantity": 1, "unit_price": "0.0001"}}),
    ("order.line_removed", {"sku": "sku-1"}),
    ("order.address_changed", {"shipping_address": {"city": "Utrecht"}}),
    ("order.shipped", {"carrier": "PostNL", "tracking_number": "3S"}),
    ("order.delivery_failed", {"reason": "nobody in"}),
    ("order.delivered", None),
    ("order.cancelled", {"reason": "changed my mind"}),
    ("order.refunded", {"amount": "25.00", "reason": "broken"}),
    ("order.refunded", {"amount": "99999999999999.9999", "reason": "generous"}),
    ("order.gift_wrapped", {"paper": "stars"}),
]


@st.composite
def _events(draw: st.DrawFn) -> dict[str, Any]:
    """An event of a small world, so that ids and versions collide often. Equal ids have equal content."""
    order, version = draw(st.sampled_from(_ORDERS)), draw(_VERSIONS)
    variant = draw(st.sampled_from((0, 0, 0, 0, 1)))
    id_ = f"{order}-{version}-{variant}"
    if variant == 0 and version == 1:
        return placed(order, customer=draw(st.sampled_from(("c-1", "c-2"))), id_=f"{id_}-{draw(st.booleans())}")
    choice = draw(st.integers(0, len(_LATER) - 1))
    kind, data = _LATER[choice]
    if draw(st.integers(0, 19)) == 0:  # a producer that uses an id again, for another event
        return attributes(order, version, kind, data, id_=f"reused-{draw(st.integers(0, 1))}")
    return attributes(
        order, version, kind, data, id_=f"{id_}-{choice}", source=draw(st.sampled_from(("/shop", "/till")))
    )


class _Machine(RuleBasedStateMachine):
    def __init__(self, runner: asyncio.Runner, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        super().__init__()
        self._runner = runner
        self._pool = pool
        self._meant: dict[tuple[int, int], Any] = {}
        self._done: list[Any] = []
        self._applied: Counter[int] = Counter()
        self._zombie: Holds = {}
        self._as = ExitStack()

    @initialize(copied=st.sampled_from((1, COPIED)))
    def empty(self, copied: int) -> None:
        self._as.enter_context(copied_from(copied))
        self._runner.run(self._truncate())
        self.engine = Engine(self._pool)
        for partition in range(3):
            self.engine.logs[partition] = []
        self._runner.run(self.engine.take())

    @rule(event=_events(), partition=st.integers(0, 2), times=st.integers(1, 2))
    def send(self, event: dict[str, Any], partition: int, times: int) -> None:
        for _ in range(times):
            self.engine.send(event, partition=partition)
            self._note(partition, reference.Event(event))

    @rule(events=st.lists(_events(), max_size=12), partition=st.integers(0, 2))
    def send_many(self, events: list[dict[str, Any]], partition: int) -> None:
        for event in events:
            self.send(event, partition, 1)

    @rule(partition=st.integers(0, 2), value=st.sampled_from((b"", b"{", b"[1]", b'{"specversion":"1.0"}', b"\xff")))
    def send_broken(self, partition: int, value: bytes) -> None:
        self.engine.append(value, partition=partition)
        self._note(partition, reference.Broken())

    @rule(order=st.sampled_from(_ORDERS), partition=st.integers(0, 2), luck=st.integers(0, 3))
    def send_tombstone(self, order: str, partition: int, luck: int) -> None:
        if luck == 0:
            self.engine.append(None, partition=partition, key=order.encode())
            self._note(partition, reference.Tombstone(order))

    @rule(most=st.integers(1, 30))
    def apply(self, most: int) -> None:
        if batch := self.engine.next_batch(most):
            self._runner.run(self.engine.apply(batch))
            self._record(batch)

    @rule(most=st.integers(1, 30))
    def crash_before_commit(self, most: int) -> None:
        if batch := self.engine.next_batch(most):
            self.engine.start("before_db_commit=raise")
            with pytest.raises(RuntimeError, match="failpoint"):
                self._runner.run(self.engine.apply(batch))
            self.restart()

    @rule(most=st.integers(1, 30))
    def crash_after_commit(self, most: int) -> None:
        if batch := self.engine.next_batch(most):
            self.engine.start("after_db_commit=raise")
            with pytest.raises(RuntimeError, match="failpoint"):
                self._runner.run(self.engine.apply(batch))
            self._record(batch)
            self.restart()

    @rule()
    def restart(self) -> None:
        self._zombie = dict(self.engine.holds)
        self.engine.start()
        self._runner.run(self.engine.take())
        stands = {place.partition: hold.next_offset for place, hold in self.engine.holds.items()}
        assert stands == {partition: self._applied[partition] for partition in stands}, "a checkpoint without its batch"

    @rule(most=st.integers(1, 5))
    def zombie(self, most: int) -> None:
        batch = [
            record
            for place, hold in self._zombie.items()
            for record in self.engine.logs[place.partition][hold.next_offset :]
        ][:most]
        if batch:
            with pytest.raises(OutOfPlace):
                self._runner.run(self.engine.apply(batch, self._zombie))

    def teardown(self) -> None:
        self._as.close()

    @invariant()
    def never_torn(self) -> None:
        """After every step the database is what the reference makes of the records below the checkpoints."""
        if hasattr(self, "engine"):
            assert self._runner.run(self.engine.differences(self._done)) == []

    def _note(self, partition: int, meaning: Any) -> None:
        self._meant[partition, len(self.engine.logs[partition]) - 1] = meaning

    def _record(self, batch: list[StoredRecord]) -> None:
        self._done += [self._meant[record.partition, record.offset] for record in batch]
        self._applied.update(record.partition for record in batch)

    async def _truncate(self) -> None:
        tables = ", ".join(f"projector.{name.strip()}" for name in _TABLES.split(","))
        async with self._pool.acquire() as connection:
            await connection.execute(f"TRUNCATE {tables} RESTART IDENTITY")


def test_whatever_comes_the_database_is_what_the_producer_meant(
    database_url: str,
) -> None:
    play(_Machine, database_url, runs=80, steps=20)
