"""Verification against whatever hypothesis comes up with: no step of a fleet, however odd, gives a false alarm.

Arbitrary events in three partitions (duplicates, holes, conflicts, reused ids, unknown types, broken records,
erasures), applied partition by partition in any order; writers beside the log; records that an older version could not
read; letters retried and discarded. After each step the database is right by all that can be known.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from aiokafka import TopicPartition
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from consumer.journal import NO_RECORD
from consumer.verification.run import Plan, verify
from runtime.kafka import Ends
from schemas.events import Event, StoredRecord, Unreadable
from schemas.wire import decode
from tests.integration.test_processor_machine import _events as _any
from tests.support.engine import TOPIC, Engine, structured
from tests.support.fleet import settings_for
from tests.support.machine import play
from tests.support.redelivery import retry
from tests.support.verification import told

_ORDERS = ("a", "b", "c")
_TABLES = (
    "ledger, orders, parked_events, dead_letters, checkpoints, event_sources, "
    "customer_summary, product_sales_daily, fulfilment_queue"
)


@st.composite
def _events(draw: st.DrawFn) -> dict[str, Any]:
    """An event whose id says what is in it: of two contents of one identity, one in the log and one in the ledger,
    nobody could say which is right."""
    event = draw(_any())
    customer = (event["data"] or {}).get("customer", {}).get("id", "")
    return {**event, "id": f"{event['id']}{customer}"}


class _Machine(RuleBasedStateMachine):
    def __init__(self, runner: asyncio.Runner, pool: asyncpg.Pool[asyncpg.Record], url: str) -> None:
        super().__init__()
        self._runner = runner
        self._pool = pool
        self._settings = settings_for("localhost:1", url, TOPIC)
        self._erased = False

    @initialize()
    def empty(self) -> None:
        tables = ", ".join(f"projector.{name.strip()}" for name in _TABLES.split(","))
        self._runner.run(self._pool.execute(f"TRUNCATE {tables} RESTART IDENTITY"))
        self.engine = Engine(self._pool)
        LOGS[TOPIC] = self.engine.logs
        for partition in range(3):
            self.engine.logs[partition] = []
        self._runner.run(self.engine.take())

    @rule(events=st.lists(_events(), min_size=1, max_size=8), partition=st.integers(0, 2), copies=st.booleans())
    def send(self, events: list[dict[str, Any]], partition: int, copies: bool) -> None:
        for event in events:
            # One identity for events of several orders, one of which is erased: nobody can know that it was there.
            if not event["id"].startswith("reused"):
                self.engine.send(*[event] * (1 + copies), partition=partition)

    @rule(event=_events(), partitions=st.permutations([0, 1, 2]))
    def send_a_reused_identity(self, event: dict[str, Any], partitions: list[int]) -> None:
        if not self._erased:
            for partition, order in zip(partitions, _ORDERS, strict=True):
                self.engine.send({**event, "id": "reused", "subject": order}, partition=partition)

    @rule(partition=st.integers(0, 2), key=st.sampled_from((None, b"a", b"b")))
    def send_broken(self, partition: int, key: bytes | None) -> None:
        self.engine.append(b"{", partition=partition, key=key)

    @rule(order=st.sampled_from(_ORDERS), partition=st.integers(0, 2), luck=st.integers(0, 5))
    def send_tombstone(self, order: str, partition: int, luck: int) -> None:
        reused = any(b"reused" in (one.value or b"") for log in self.engine.logs.values() for one in log)
        if luck == 0 and not reused:
            self._erased = True
            self.engine.append(None, partition=partition, key=order.encode())

    @rule(partition=st.integers(0, 2), most=st.integers(1, 12), older=st.integers(0, 5))
    def apply(self, partition: int, most: int, older: int) -> None:
        place = next(place for place in self.engine.holds if place.partition == partition)
        batch = self.engine.logs[partition][self.engine.holds[place].next_offset :][:most]
        if batch:
            items = [decode(record) for record in batch]
            read = [Unreadable("older", None, None, one.record) if older == n else one for n, one in enumerate(items)]
            _, self.engine.holds = self._runner.run(self.engine.processor.process(read, self.engine.holds))

    @rule(event=_events())
    def write_beside(self, event: dict[str, Any]) -> None:
        record = StoredRecord("", -1, -1, 0, event["subject"].encode(), structured(event), ())
        item = decode(record)
        assert isinstance(item, Event)
        if not event["id"].startswith("reused"):
            self._runner.run(self.engine.processor.process([item._replace(record=NO_RECORD)], {}))

    @rule(partition=st.integers(0, 2), first=st.integers(0, 20), most=st.integers(1, 10))
    def replay(self, partition: int, first: int, most: int) -> None:
        items = [decode(record) for record in self.engine.logs[partition][first:][:most]]
        if items:
            self._runner.run(self.engine.processor.process(items, {}))

    @rule()
    def retry(self) -> None:
        self._runner.run(retry(self.engine))

    @rule(one=st.integers(1, 20))
    def discard(self, one: int) -> None:
        resolve = "UPDATE projector.dead_letters SET resolved_at = now(), resolution = 'discarded' "
        self._runner.run(self._pool.execute(f"{resolve} WHERE id = $1 AND resolved_at IS NULL", one))

    @invariant()
    def no_false_alarm(self) -> None:
        if hasattr(self, "engine"):
            for source in ("log", "journal"):
                found = self._runner.run(verify(self._settings, Plan(source=source, size=3)))
                assert told(found) == [], source


# The log in memory, in the place of Kafka's.
LOGS: dict[str, dict[int, list[StoredRecord]]] = {}


@asynccontextmanager
async def _no_consumer(_: object) -> AsyncIterator[None]:
    yield


async def _spans(_: object, __: object, checkpoints: Mapping[TopicPartition, int]) -> dict[TopicPartition, Ends]:
    return {one: Ends(0, offset) for one, offset in checkpoints.items()}


async def _records(_: object, spans: Mapping[TopicPartition, Ends], most: int) -> AsyncIterator[list[StoredRecord]]:
    for one, span in spans.items():
        yield LOGS[one.topic][one.partition][: span.end]


def test_whatever_comes_there_is_no_false_alarm(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.verification.run.observer", _no_consumer)
    monkeypatch.setattr("consumer.verification.log.spans", _spans)
    monkeypatch.setattr("consumer.log_slice.records", _records)
    play(lambda runner, pool: _Machine(runner, pool, database_url), database_url, runs=15, steps=15)
