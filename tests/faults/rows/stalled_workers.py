"""Workers that stand still for longer than a session, and then go on as if nothing had been."""

from __future__ import annotations

import asyncio
import signal
import time

import asyncpg

from testkit.deadline import eventually
from tests.faults.evidence import stands_at
from tests.faults.fault import fault
from tests.faults.scene import Scene
from tests.support.fleet import Member

BRIEF = 3.0  # seconds: a session here, since each run waits for three
STATEMENT = 3.0  # seconds that one may take
HEARTBEAT = 1.0  # seconds at most from a rebalance's beginning until a member hears of it
# Seconds from a worker's standing still until others have its partitions: as everywhere two sessions; and in them or
# after them all members hear of the rebalance, and end the batch in their hand, which may wait for a lock of its.
TAKEOVER = 2 * BRIEF + HEARTBEAT + STATEMENT
PATIENCE = {"PROJECTOR_SESSION_TIMEOUT": BRIEF, "PROJECTOR_STATEMENT_TIMEOUT": STATEMENT}
STALLED = {"settings": PATIENCE, "limit": 2 * BRIEF}


@fault(
    11,
    "a worker frozen in its batch wakes up",
    tier="short",
    seeds=10,
    shown_by=("fenced", "failpoints reached"),
    mixed=1,
    **STALLED,
)
async def zombie(scene: Scene) -> None:
    """SIGSTOP right before the transaction or in the middle of it, for three sessions: it must commit nothing."""
    others = scene.running
    point = scene.random.choice(["before_tx", "mid_tx", "before_db_commit"])
    victim = await _standing_at(scene, point)
    victim.signal(signal.SIGSTOP)
    began = time.monotonic()
    await _taken_over(scene, began, *others)  # Kafka and PostgreSQL have given it up
    await scene.works()
    await asyncio.sleep(max(began + 3 * BRIEF - time.monotonic(), 0))
    victim.signal(signal.SIGCONT)
    await scene.shared()  # it comes back as an ordinary member


@fault(
    11,
    "a worker frozen in a statement wakes up",
    tier="short",
    workers=1,
    shown_by=("fenced",),
    **STALLED,
)
async def zombie_in_a_statement(scene: Scene) -> None:
    """SIGSTOP while PostgreSQL works for it: what the server has done by then must not stay."""
    [victim] = scene.running
    lock = await asyncpg.connect(scene.fleet.url)
    try:
        async with lock.transaction():
            await lock.execute("LOCK TABLE projector.ledger IN SHARE MODE")
            await scene.in_transaction()
            victim.signal(signal.SIGSTOP)
    finally:
        await lock.close()
    await scene.shared(scene.start())
    await scene.works()
    victim.signal(signal.SIGCONT)
    await scene.shared()


async def _standing_at(scene: Scene, point: str) -> Member:
    """A worker that waits at a failpoint with a batch in its hand."""
    failpoint = f"{point}=sleep(4):{scene.random.randint(1, 10)}"
    victim = scene.start(PROJECTOR_LANES=1, PROJECTOR_FAILPOINTS=failpoint, **PATIENCE)
    await eventually(lambda: stands_at(victim, point), 60)
    return victim


async def _taken_over(scene: Scene, began: float, *others: Member) -> None:
    """Wait until the others have all partitions of who stands still since `began`."""
    await scene.shared(*others)
    took = time.monotonic() - began
    assert took <= TAKEOVER, f"its partitions were taken over after {took:.1f} s, {TAKEOVER:g} s are allowed"


@fault(
    12,
    "an event loop blocked for longer than a session",
    shown_by=("lost its partitions", "fenced", "failpoints reached"),
    mixed=1,
    **STALLED,
)
async def blocked(scene: Scene) -> None:
    """No heartbeat leaves a process that computes; it begins its transaction when others have its partitions."""
    others = scene.running
    failpoint = f"before_tx=block({5 * BRIEF:g}):{scene.random.randint(5, 15)}"
    victim = scene.start(PROJECTOR_FAILPOINTS=failpoint, **PATIENCE)
    await eventually(lambda: stands_at(victim, "before_tx"), 60)
    await _taken_over(scene, time.monotonic(), *others)
    scene.evidence["lost its partitions"] += 1
    await scene.shared()
