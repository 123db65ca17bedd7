"""Workers killed with SIGKILL: at each point of a batch, all at once, while they leave."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from testkit.deadline import eventually
from tests.faults.checks import committed
from tests.faults.evidence import stands_at
from tests.faults.fault import fault
from tests.faults.rows.rebalances import leaves
from tests.faults.scene import Scene
from tests.support.fleet import Member, stands

SESSION = 10.0  # seconds: the product's default, since what is measured is how long a killed worker costs
LOST = {"settings": {"PROJECTOR_SESSION_TIMEOUT": SESSION}, "limit": 2 * SESSION}
IN_ITS_BATCH = {**LOST, "shown_by": ("killed", "failpoints reached")}
KILLS = 2  # in a run
POINTS = ("mid_tx", "before_db_commit")
REACHED = 20  # times that a victim reaches its point at most


async def _nothing(scene: Scene, victim: Member) -> None:
    """A kill that is nothing but that."""


async def _killed_at(scene: Scene, *points: str, then: Callable[[Scene, Member], Awaitable[None]] = _nothing) -> None:
    """Workers are killed, each the nth time that it reaches a point of these; `then` is called as soon as one is."""
    chosen = [scene.random.choice(points) for _ in range(KILLS)]
    living = {scene.start(PROJECTOR_FAILPOINTS=f"{point}=kill9:{_nth(scene, point)}"): point for point in chosen}
    while living:
        for victim in await eventually(lambda: _ended(living), 60):
            assert victim.code == -signal.SIGKILL
            assert stands_at(victim, living.pop(victim)), "it was killed before it reached its point"
            await then(scene, victim)


def _ended(members: Iterable[Member]) -> list[Member]:
    return [member for member in members if member.code is not None]


def _nth(scene: Scene, point: str) -> int:
    return scene.random.randint(1, 4 if point == "before_kafka_commit" else REACHED)  # one a second


@fault(1, "a worker killed in its transaction", tier="short", seeds=10, mixed=3, **IN_ITS_BATCH)
async def killed_mid_tx(scene: Scene) -> None:
    await _killed_at(scene, "mid_tx")


@fault(1, "a worker killed between two batches", mixed=1, **IN_ITS_BATCH)
async def killed_between_batches(scene: Scene) -> None:
    await _killed_at(scene, "after_fetch", "before_tx")


@fault(2, "a worker killed before its commit", tier="short", seeds=10, mixed=3, **IN_ITS_BATCH)
async def killed_before_commit(scene: Scene) -> None:
    await _killed_at(scene, "before_db_commit")


@fault(
    3,
    "a worker killed after its commit, before Kafka's",
    tier="short",
    seeds=10,
    mixed=3,
    shown_by=("killed", "checkpoints ahead of Kafka", "failpoints reached"),
    **LOST,
)
async def killed_after_commit(scene: Scene) -> None:
    await _killed_at(scene, "after_db_commit", "before_kafka_commit", then=_count_ahead)


async def _count_ahead(scene: Scene, victim: Member) -> None:
    """The victim's partitions whose next owner would do work again if it believed Kafka."""
    owners = await scene.fleet.owners()
    left = [place for place, owner in owners.items() if owner.endswith(f"-{victim.pid}")]
    kafka = await committed(scene, left)
    checkpoints = await stands(scene.connection, dict.fromkeys(left, 0))
    scene.evidence["checkpoints ahead of Kafka"] += sum(kafka[place] < checkpoints[place] for place in left)


@fault(4, "all workers killed at once", tier="short", mixed=2, shown_by=("killed",), **LOST)
async def all_killed(scene: Scene) -> None:
    victims = scene.running
    for victim in victims:
        victim.signal(signal.SIGKILL)
    for victim in victims:
        assert await victim.ended() == -signal.SIGKILL


@fault(4, "a worker killed in a rebalance", **IN_ITS_BATCH)
async def killed_in_a_rebalance(scene: Scene) -> None:
    for point in ("on_revoked", "on_assigned"):
        victim = scene.start(PROJECTOR_FAILPOINTS=f"{point}=kill9:2")
        await _in_the_group(victim)
        guest = scene.start()  # its coming is a rebalance, and its going is another
        await _in_the_group(guest)
        await leaves(scene, guest)
        assert await victim.ended(60) == -signal.SIGKILL


async def _in_the_group(member: Member) -> None:
    await eventually(lambda: "partitions_taken" in member.said() or member.code is not None, 60)


@fault(6, "SIGTERM while its batch is stuck", tier="short", shown_by=("left in time", "failpoints reached"), mixed=1)
async def stuck(scene: Scene) -> None:
    """It gives the batch up in time, and another does it."""
    await leaves(scene, await _stuck_at(scene, scene.random.choice(POINTS)))


@fault(
    6,
    "a second SIGTERM while it drains",
    exits=frozenset({130}),
    shown_by=("ended at once", "failpoints reached"),
    mixed=1,
    **LOST,
)
async def second_sigterm(scene: Scene) -> None:
    victim = await _draining(scene)
    victim.signal(signal.SIGTERM)
    assert await victim.ended(3) == 130  # less than it would have drained
    scene.evidence["ended at once"] += 1


@fault(6, "killed while it drains", mixed=1, **IN_ITS_BATCH)
async def killed_while_it_drains(scene: Scene) -> None:
    victim = await _draining(scene)
    victim.signal(signal.SIGKILL)
    assert await victim.ended() == -signal.SIGKILL


async def _draining(scene: Scene) -> Member:
    """A worker that was asked to stop and can't finish the batch in its hand."""
    victim = await _stuck_at(scene, POINTS[1])
    victim.signal(signal.SIGTERM)
    await eventually(lambda: not _pending(victim))  # two that are pending at once would be one
    return victim


async def _stuck_at(scene: Scene, point: str) -> Member:
    """A worker that stays at this point of its transaction."""
    victim = scene.start(PROJECTOR_FAILPOINTS=f"{point}=hang:{scene.random.randint(1, REACHED)}")
    await eventually(lambda: stands_at(victim, point), 60)
    return victim


def _pending(member: Member) -> bool:
    """Whether a SIGTERM was sent that the process hasn't taken yet."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{member.pid}/status").read_text().splitlines())
    masks = int(status["SigPnd"], 16) | int(status["ShdPnd"], 16)
    return bool(masks >> (signal.SIGTERM - 1) & 1)
