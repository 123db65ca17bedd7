"""How a fault is played: a fleet at work, the fault, its end, lag 0, and every row held against the oracle."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass

from testkit.deadline import eventually
from tests.faults import checks
from tests.faults.evidence import seen
from tests.faults.fault import Fault
from tests.faults.load import shop
from tests.faults.scene import Scene, scene
from tests.faults.stage import Stage

_STOP = 10.0  # seconds that a worker may take from SIGTERM to its end
_POLL = 0.6  # seconds that a worker's fetch takes, and a bit
_CALM = 30.0  # seconds for a fleet that has begun to be calm
_REST = 5.0  # seconds for PostgreSQL to see that connections are idle, or gone
_PATIENCE = 120.0  # seconds to lag 0, after which nothing more is to be learned


@dataclass(frozen=True)
class Played:
    """What a run showed. `redelivered` counts copies of events that Kafka held; `again`, batches that were run again
    (by the same worker, or by the next owner of the partition) or given up for another to run."""

    fault: Fault
    seed: int
    evidence: Counter[str]
    events: int
    redelivered: int
    recovery: float  # seconds from healing to lag 0
    differences: list[str]
    wrong: list[str]  # what else didn't hold

    @property
    def again(self) -> int:
        names = ("again", "discarded batches", "sessions ended", "killed")
        return sum(self.evidence[name] for name in names)


async def play(fault: Fault, stage: Stage, seed: int) -> Played:
    """One run. Raises what went wrong on the way; what is wrong at the end is in the result."""
    async with scene(stage, seed, fault.partitions, **fault.settings) as on, fault.around(on):
        on.fleet.losses |= fault.exits
        await _begin(fault, on)
        await fault.breaks(on)
        if on.healed_at is None:
            on.healed()
        return await _judged(fault, on)


async def _begin(fault: Fault, on: Scene) -> None:
    on.expected = fault.workers
    await on.replace()
    if fault.workers:
        await on.shared()
    if fault.rate:
        on.load.start(shop(seed=on.seed, topic=on.topic, **fault.plan), fault.rate, fault.least)
        await on.works()  # by then the workers have logged what they took, too
    await eventually(lambda: _calm(on), _CALM, 0)
    on.evidence.subtract(seen(on.fleet.members) + on.gauges.counts())  # what showed by now is no fault's


async def _calm(on: Scene) -> bool:
    """Whether no fetch is thrown away any more: one that began before its worker had its partitions ends that late."""
    await on.gauges.look()
    before = on.gauges.counts()["discarded fetches"]
    await asyncio.sleep(_POLL)  # what passes is what is asked
    await on.gauges.look()
    return on.gauges.counts()["discarded fetches"] == before


async def _judged(fault: Fault, on: Scene) -> Played:
    assert on.healed_at is not None
    await on.replace()
    await on.load.finish()
    log = on.load.log
    await on.fleet.caught_up(log.ends, _PATIENCE)
    recovery = time.monotonic() - on.healed_at
    await on.gauges.look()
    on.evidence += seen(on.fleet.members) + on.gauges.counts()  # before they stop, which is a rebalance for the others
    wrong = await at_rest(on)
    settled = on.settle(log)
    wrong += [f"nothing shows: {name}" for name in fault.shown_by if on.evidence[name] < 1]
    if recovery > fault.limit:
        wrong.append(f"lag 0 took {recovery:.1f} s from healing, {fault.limit:g} s are allowed")
    found = await checks.everything(on, log, settled)
    return Played(fault, on.seed, on.evidence, len(log.sent), settled.duplicates, recovery, found, wrong)


async def at_rest(on: Scene) -> list[str]:
    """Stop the fleet; what it leaves behind that it shouldn't."""

    async def no_transaction() -> bool:
        assert await checks.idle_in_transaction(on.connection) == []
        return all("worker_started" in member.said() for member in on.running)  # else SIGTERM finds no handler yet

    async def no_connection() -> bool:
        return await checks.connections(on.connection) == 0

    await eventually(no_transaction, _REST)
    stopping, began = on.running, time.monotonic()
    await on.fleet.stop()
    took = time.monotonic() - began
    await eventually(no_connection, _REST)
    wrong = [f"SIGTERM: a worker ended with {member.code}" for member in stopping if member.code != 0]
    wrong += on.offsets.wrong if on.offsets.looks else ["offsets were never looked at"]
    return wrong if took <= _STOP else [*wrong, f"SIGTERM: the workers took {took:.1f} s to end"]
