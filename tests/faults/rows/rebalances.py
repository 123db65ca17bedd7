"""Workers that come and go: one by one, in a storm, more of them than partitions."""

from __future__ import annotations

import asyncio
import signal
import time

from testkit.deadline import eventually
from tests.faults.fault import fault
from tests.faults.scene import SESSION, Scene
from tests.support.fleet import Member

STOP = 10.0  # seconds that a worker may take from SIGTERM to its end
LATE = 30.0  # seconds from a worker's start until it has begun, on a busy machine
STORM = 24.0  # seconds
GUSTS = 2.0  # seconds from one member's coming or going to the next


async def leaves(scene: Scene, member: Member) -> None:
    """SIGTERM, obeyed in time. A worker that has not begun yet has no ear for it: the signal itself ends it."""
    await eventually(lambda: "worker_started" in member.said(), LATE)
    began = time.monotonic()
    member.signal(signal.SIGTERM)
    assert await member.ended() == 0, member.said()[-2000:]
    assert time.monotonic() - began < STOP
    scene.evidence["left in time"] += 1


@fault(
    5,
    "a rolling SIGTERM under load",
    tier="short",
    workers=3,
    settings={"PROJECTOR_SESSION_TIMEOUT": 120},  # who didn't leave the group would hold its partitions for too long
    shown_by=("left in time", "assignments"),
    mixed=2,
)
async def rolling_sigterm(scene: Scene) -> None:
    for member in scene.running:
        await leaves(scene, member)
        scene.start()
        await scene.shared()


@fault(13, "a rebalance storm", seeds=10, shown_by=("assignments", "applied in the storm"), mixed=1)
async def storm(scene: Scene) -> None:
    """A member comes or goes every two seconds; the work goes on all the same, and the fleet is stable afterwards."""
    guests: list[Member] = []
    leaving: list[asyncio.Task[None]] = []
    before, ends = await scene.applied(), time.monotonic() + STORM
    while time.monotonic() < ends:
        if len(guests) == 3 or (guests and scene.random.random() < 0.5):
            leaving.append(asyncio.ensure_future(leaves(scene, guests.pop(0))))
        else:
            guests.append(scene.start())
        await asyncio.sleep(GUSTS)
    scene.evidence["applied in the storm"] += await scene.applied() - before
    await asyncio.gather(*leaving, *(leaves(scene, guest) for guest in guests))
    await scene.shared()


@fault(
    14,
    "an owner killed among idle workers",
    workers=6,
    settings={"PROJECTOR_MAX_POLL_INTERVAL": 5},
    limit=2 * SESSION,
    shown_by=("idle ones that took over", "killed"),
)
async def idle_takes_over(scene: Scene) -> None:
    """Six workers on four partitions, two of them idle for longer than the poll interval: one takes over."""
    await asyncio.sleep(2 * 5)
    owners = await _owners(scene)
    idle = [member for member in scene.running if member.pid not in owners]
    victim = next(member for member in scene.running if member.pid in owners)
    victim.signal(signal.SIGKILL)
    assert await victim.ended() == -signal.SIGKILL
    scene.healed()
    await eventually(lambda: _one_owns(scene, idle), 3 * SESSION)
    scene.evidence["idle ones that took over"] += 1


async def _owners(scene: Scene) -> set[int]:
    return {int(owner.rpartition("-")[2]) for owner in (await scene.fleet.owners()).values()}


async def _one_owns(scene: Scene, members: list[Member]) -> bool:
    return bool(await _owners(scene) & {member.pid for member in members})


@fault(
    15,
    "a batch fetched under an old assignment",
    settings={"PROJECTOR_FAILPOINTS": "on_assigned=sleep(1):*"},
    shown_by=("discarded fetches", "assignments"),
)
async def old_assignment(scene: Scene) -> None:
    """Positions are put right a second after the client has its partitions; a member comes and goes, twice."""
    for _ in range(2):
        guest = scene.start()
        await scene.shared()
        await scene.works()
        await leaves(scene, guest)
        await scene.shared()
