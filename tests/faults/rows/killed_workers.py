"""Workers killed with SIGKILL: at each point of a batch, all at once, while they leave."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from testkit.deadline import eventually
from tests.faults.checks import committed
from tests.faults.fault import fault
from tests.faults.rows.rebalances import leaves
from tests.faults.scene import SESSION, Scene
from tests.support.fleet import Member, stands

LOST = {"limit": 2 * SESSION, "shown_by": ("killed", "redelivered")}
KILLS = 2  # in a run
POINTS = ("mid_tx", "before_db_commit")
REACHED = 20  # times that a victim reaches its point at most


async def _killed_at(scene: Scene, *points: str, then: Callable[[Scene], Awaitable[None]] | None = None) -> None:
    """Workers are killed, each the nth time that it reaches a point of these."""
    chosen = [scene.random.choice(points) for _ in range(KILLS)]
    victims = [scene.start(PROJECTOR_FAILPOINTS=f"{point}=kill9:{_nth(scene, point)}") for point in chosen]
    for victim in victims:
        assert await victim.ended(60) == -signal.SIGKILL
        if then is not None:
            await then(scene)


def _nth(scene: Scene, point: str) -> int:
    return scene.random.randint(1, 4 if point == "before_kafka_commit" else REACHED)  # one a second


@fault(1, "a worker killed in its transaction", tier="short", seeds=10, mixed=3, **LOST)
async def killed_mid_tx(scene: Scene) -> None:
    await _killed_at(scene, "mid_tx")


@fault(1, "a worker killed between two batches", mixed=1, **LOST)
async def killed_between_batches(scene: Scene) -> None:
    await _killed_at(scene, "after_fetch", "before_tx")


@fault(2, "a worker killed before its commit", tier="short", seeds=10, mixed=3, **LOST)
async def killed_before_commit(scene: Scene) -> None:
    await _killed_at(scene, "before_db_commit")


@fault(
    3,
    "a worker killed after its commit, before Kafka's",
    tier="short",
    seeds=10,
    mixed=3,
    limit=2 * SESSION,
    shown_by=("killed", "checkpoints ahead of Kafka", "redelivered"),
)
async def killed_after_commit(scene: Scene) -> None:
    await _killed_at(scene, "after_db_commit", "before_kafka_commit", then=_count_ahead)


async def _count_ahead(scene: Scene) -> None:
    """Partitions whose next owner would do work again if it believed Kafka."""
    ends = scene.load.log.ends
    kafka = await committed(scene, ends)
    checkpoints = await stands(scene.connection, ends)
    scene.evidence["checkpoints ahead of Kafka"] += sum(kafka[place] < checkpoints[place] for place in ends)


@fault(4, "all workers killed at once", tier="short", mixed=2, **LOST)
async def all_killed(scene: Scene) -> None:
    victims = scene.running
    for victim in victims:
        victim.signal(signal.SIGKILL)
    for victim in victims:
        assert await victim.ended() == -signal.SIGKILL


@fault(4, "a worker killed in a rebalance", **LOST)
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


@fault(6, "SIGTERM while its batch is stuck", tier="short", shown_by=("left in time",), mixed=1)
async def stuck(scene: Scene) -> None:
    """It gives the batch up in time, and another does it."""
    nth = scene.random.randint(1, REACHED)
    victim = scene.start(PROJECTOR_FAILPOINTS=f"{scene.random.choice(POINTS)}=hang:{nth}")
    await scene.in_transaction(1.0)
    await leaves(scene, victim)


@fault(
    6,
    "a second SIGTERM while it drains",
    limit=2 * SESSION,
    exits=frozenset({130}),
    shown_by=("ended at once",),
    mixed=1,
)
async def second_sigterm(scene: Scene) -> None:
    victim = await _draining(scene)
    victim.signal(signal.SIGTERM)
    assert await victim.ended(3) == 130  # less than it would have drained
    scene.evidence["ended at once"] += 1


@fault(6, "killed while it drains", mixed=1, **LOST)
async def killed_while_it_drains(scene: Scene) -> None:
    victim = await _draining(scene)
    victim.signal(signal.SIGKILL)
    assert await victim.ended() == -signal.SIGKILL


async def _draining(scene: Scene) -> Member:
    """A worker that was asked to stop and can't finish the batch in its hand."""
    victim = scene.start(PROJECTOR_FAILPOINTS=f"{POINTS[1]}=hang:{scene.random.randint(1, REACHED)}")
    await scene.in_transaction(1.0)
    victim.signal(signal.SIGTERM)
    await eventually(lambda: not _pending(victim))  # two that are pending at once would be one
    return victim


def _pending(member: Member) -> bool:
    """Whether a SIGTERM was sent that the process hasn't taken yet."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{member.pid}/status").read_text().splitlines())
    masks = int(status["SigPnd"], 16) | int(status["ShdPnd"], 16)
    return bool(masks >> (signal.SIGTERM - 1) & 1)
