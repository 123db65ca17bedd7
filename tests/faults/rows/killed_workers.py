"""Workers killed with SIGKILL: at points of a batch, all at once."""

from __future__ import annotations

import signal

from tests.faults.fault import fault
from tests.faults.scene import SESSION, Scene

LOST = {"limit": 2 * SESSION, "shown_by": ("killed", "redelivered")}


async def _killed_at(scene: Scene, point: str) -> None:
    """Twice: a worker is killed the nth time that it reaches the point, and another takes its place."""
    for _ in range(2):
        victim = scene.start(PROJECTOR_FAILPOINTS=f"{point}=kill9:{scene.random.randint(1, 20)}")
        assert await victim.ended(60) == -signal.SIGKILL


@fault(2, "a worker killed before its commit", tier="short", seeds=10, mixed=3, **LOST)
async def killed_before_db_commit(scene: Scene) -> None:
    await _killed_at(scene, "before_db_commit")


@fault(4, "all workers killed at once", mixed=2, **LOST)
async def all_killed(scene: Scene) -> None:
    victims = scene.running
    for victim in victims:
        victim.signal(signal.SIGKILL)
    for victim in victims:
        assert await victim.ended() == -signal.SIGKILL
