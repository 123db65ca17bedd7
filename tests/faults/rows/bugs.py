"""Code that fails on good events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from consumer.reference import Settled
from tests.faults.buggy import fails_on
from tests.faults.fault import fault
from tests.faults.load import Log
from tests.faults.scene import Scene


@asynccontextmanager
async def _buggy_workers(scene: Scene) -> AsyncIterator[None]:
    scene.fleet.program = ("-m", "tests.faults.buggy")
    scene.settle = _settled
    yield


@fault(27, "a read model that fails on some orders", around=_buggy_workers, shown_by=("held orders",))
async def failing_read_model(scene: Scene) -> None:
    """The first event of each such order is a letter, what follows waits; all other orders go on."""
    await scene.works(1_000)
    orders = "SELECT count(*) FROM projector.dead_letters WHERE reason = 'projection_error'"
    scene.evidence["held orders"] += await scene.connection.fetchval(orders)


def _settled(log: Log) -> Settled:
    """As ever, but that orders of those customers stand still where they would have been placed."""
    settled = log.stream.settled()
    for order, history in list(settled.applied.items()):
        stops = next((at for at, event in enumerate(history) if _is_too_much(event)), None)
        if stops is not None:
            settled.dead.append(("projection_error", history[stops]))
            settled.waiting[order] = [*history[stops + 1 :], *settled.waiting.get(order, [])]
            settled.applied[order] = history[:stops]
    settled.applied = {order: history for order, history in settled.applied.items() if history}
    return settled


def _is_too_much(event: dict[str, Any]) -> bool:
    return event["type"] == "order.placed" and fails_on(event["data"]["customer"]["id"])
