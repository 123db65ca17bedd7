"""Workers that stand still for longer than a session, and then go on as if nothing had been."""

from __future__ import annotations

import asyncio
import signal
import time

import asyncpg

from testkit.deadline import eventually
from tests.faults.fault import fault
from tests.faults.scene import SESSION, Scene
from tests.support.fleet import Member, stands

BRIEF = 3.0  # seconds: a session here, since each run waits for three
STALLED = {"PROJECTOR_SESSION_TIMEOUT": BRIEF, "PROJECTOR_STATEMENT_TIMEOUT": 3}


@fault(
    11,
    "a worker frozen in its batch wakes up",
    tier="short",
    seeds=10,
    settings=STALLED,
    limit=2 * SESSION,
    shown_by=("fenced", "redelivered"),
    mixed=1,
)
async def zombie(scene: Scene) -> None:
    """SIGSTOP right before the transaction or in the middle of it, for three sessions: it must commit nothing."""
    others = scene.running
    point = scene.random.choice(["before_tx", "mid_tx", "before_db_commit"])
    victim = await _standing_at(scene, point)
    victim.signal(signal.SIGSTOP)
    began = time.monotonic()
    await scene.shared(*others)  # Kafka and PostgreSQL have given it up
    await scene.works()
    await asyncio.sleep(max(began + 3 * BRIEF - time.monotonic(), 0))
    victim.signal(signal.SIGCONT)
    await scene.shared()  # it comes back as an ordinary member


@fault(
    11,
    "a worker frozen in a statement wakes up",
    tier="short",
    workers=1,
    settings=STALLED,
    limit=2 * SESSION,
    shown_by=("fenced",),
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
    nth = scene.random.randint(1, 10)
    victim = scene.start(PROJECTOR_LANES=1, PROJECTOR_FAILPOINTS=f"{point}=sleep(4):{nth}")
    await scene.shared()
    if point == "before_tx":
        await eventually(lambda: _stands_still(scene, victim), 60, 1.0)
    else:
        await scene.in_transaction(0.5)
    return victim


async def _stands_still(scene: Scene, member: Member) -> bool:
    """Whether none of its checkpoints moves for a second, though there is work."""
    before = await _checkpoints(scene, member)
    await asyncio.sleep(1.0)
    return before == await _checkpoints(scene, member)


async def _checkpoints(scene: Scene, member: Member) -> list[int]:
    owners, found = await scene.fleet.owners(), await stands(scene.connection, scene.load.log.ends)
    return [offset for place, offset in found.items() if owners[place].endswith(f"-{member.pid}")]


@fault(
    12,
    "an event loop blocked for longer than a session",
    settings=STALLED,
    limit=2 * SESSION,
    shown_by=("lost its partitions", "fenced"),
    mixed=1,
)
async def blocked(scene: Scene) -> None:
    """No heartbeat leaves a process that computes; it begins its transaction when others have its partitions."""
    others = scene.running
    nth = scene.random.randint(5, 15)
    victim = scene.start(PROJECTOR_FAILPOINTS=f"before_tx=block({5 * BRIEF:g}):{nth}")
    await eventually(lambda: "partitions_taken" in victim.said(), 30)
    await scene.shared(*others)
    scene.evidence["lost its partitions"] += 1
    await scene.shared()
