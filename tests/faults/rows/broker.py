"""The broker restarted, killed, frozen."""

from __future__ import annotations

import asyncio
import signal
import time

from testkit.deadline import eventually
from tests.faults.fault import fault
from tests.faults.scene import SESSION, Scene
from tests.support.saboteurs.signals import frozen, stands_still

OWN = {"needs": frozenset({"kafka"})}
_LEAVE = 10.0  # seconds that a worker may take to end, whatever its broker does


def _said(scene: Scene) -> dict[int, int]:
    """How much each worker has logged so far."""
    return {member.pid: len(member.said()) for member in scene.running}


async def _noticed(scene: Scene, said: dict[int, int]) -> None:
    """Wait until each worker's client complains. `said` is how much each had logged before."""
    await eventually(lambda: all("aiokafka" in member.said()[said[member.pid] :] for member in scene.running), 30)
    scene.evidence["cut off"] += len(said)


@fault(7, "broker stopped in good order and started again", shown_by=("cut off",), **OWN)
async def broker_restarted(scene: Scene) -> None:
    broker = scene.stage.kafka
    assert broker is not None
    said = _said(scene)
    await asyncio.to_thread(broker.restart)
    await _noticed(scene, said)


@fault(7, "broker killed and started again", tier="short", shown_by=("cut off",), mixed=1, **OWN)
async def broker_killed(scene: Scene) -> None:
    broker = scene.stage.kafka
    assert broker is not None
    said = _said(scene)
    broker.kill9()
    await _noticed(scene, said)
    await asyncio.to_thread(broker.start)


async def _freeze(scene: Scene, seconds: float) -> None:
    broker = scene.stage.kafka
    assert broker is not None
    assert broker.process is not None
    with frozen(broker.process.pid) as [pid]:
        began = time.monotonic()
        await eventually(lambda: stands_still(pid))
        leaver = scene.running[0]
        scene.expected -= 1
        leaver.signal(signal.SIGTERM)
        assert await leaver.ended() == 0
        assert time.monotonic() - began < _LEAVE
        scene.evidence["frozen"] += 1
        await asyncio.sleep(max(seconds - (time.monotonic() - began), 0))


@fault(8, "broker frozen for less than a session", shown_by=("frozen",), workers=3, **OWN)
async def broker_frozen_briefly(scene: Scene) -> None:
    await _freeze(scene, SESSION / 2)


@fault(8, "broker frozen for 45 s", shown_by=("frozen", "commits failed"), workers=3, **OWN)
async def broker_frozen(scene: Scene) -> None:
    """Longer than seven sessions, and than a client waits for an answer (40 s)."""
    await _freeze(scene, 45)
