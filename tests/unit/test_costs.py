"""What an event costs, counted where a clock would only tell how busy the machine is: calls, and copies of states."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from consumer.read_model_store import ReadModelStore
from consumer.read_models import READ_MODELS
from consumer.verdicts import judge
from producer.simulation import SimulationPlan, simulate
from schemas.events import StoredRecord
from schemas.order import OrderState
from schemas.wire_batch import decode_all

# Calls of Python and C functions per event, from record to change: 41 as this is written (what `map` calls isn't seen).
# One more per event shows in a benchmark of a quiet machine (0.05 to 0.3 µs); five are a mistake.
MOST_CALLS = 45


def records(orders: int) -> list[StoredRecord]:
    plan = SimulationPlan(
        orders=orders, seed=7, duplicates=0, shuffle=0, poison=0, tombstones=0, encodings=("binary",), window=100
    )
    return [
        StoredRecord("t", 0, place, 0, one.key, one.value, tuple(one.headers))
        for place, one in enumerate(simulate(plan))
    ]


def work(some: list[StoredRecord]) -> None:
    """All of a batch that is no I/O."""
    verdicts = judge(decode_all(some), {}, {}, ())
    ReadModelStore(READ_MODELS).derive(verdicts.changes.values())


def test_an_event_takes_so_many_calls_and_no_more() -> None:
    some, few = records(400), records(1)
    work(few)  # what is done once is done
    calls = 0

    def called(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        work(some)
    finally:
        sys.setprofile(before)
    assert calls / len(some) <= MOST_CALLS


def test_a_batch_copies_an_orders_state_once(monkeypatch: pytest.MonkeyPatch) -> None:
    copies = 0
    copy = OrderState.copy

    def counted(state: OrderState) -> OrderState:
        nonlocal copies
        copies += 1
        return copy(state)

    monkeypatch.setattr(OrderState, "copy", counted)
    work(records(50))
    assert copies == 50
