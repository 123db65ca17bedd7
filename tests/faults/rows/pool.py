"""More callers than connections: a worker with many lanes and a pool of two, both of them taken by somebody else."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from runtime import postgres
from testkit.deadline import eventually
from tests.faults.fault import fault
from tests.faults.load import shop
from tests.faults.scene import Scene
from tests.support.fleet import Running, settings_for

LANES = 12
SIZE = 2
WAIT = 30.0  # seconds that a lane waits for a connection


@fault(37, "pool of connections exhausted", workers=0, partitions=LANES, rate=0, shown_by=("lanes waited", "gave up"))
async def pool_exhausted(scene: Scene) -> None:
    """A worker in this process, to be looked into; one of its own process ends the work."""
    url, group = str(scene.fleet.settings["DATABASE_URL"]), str(scene.fleet.settings["PROJECTOR_GROUP_ID"])
    settings = settings_for(scene.stage.bootstrap, url, scene.topic, group_id=group, lanes=LANES, batch_size=20)
    async with postgres.pool(settings, "projector-worker", SIZE) as pool:
        worker = Running(settings, pool, "in-process")
        scene.load.start(shop(seed=scene.seed, topic=scene.topic), 600, 2_000)
        await scene.works()
        await _taken(scene, worker, pool)
        scene.healed()
        await scene.works(500)
        await worker.stop()
        assert pool.get_idle_size() == pool.get_size() > 0, "a connection was not given back"
    scene.expected = 1


async def _taken(scene: Scene, worker: Running, pool: Any) -> None:
    """All connections held until a lane has given up waiting for one."""
    async with AsyncExitStack() as held:
        for _ in range(SIZE):
            await held.enter_async_context(pool.acquire())
        # The lanes with records, and whoever else needs one: more callers than there will ever be connections.
        await eventually(lambda: len(pool._queue._getters) > SIZE, WAIT / 2)
        scene.evidence["lanes waited"] += len(pool._queue._getters)
        before = worker.observation.counts["retries"]
        await eventually(lambda: worker.observation.counts["retries"] > before, 2 * WAIT)
        scene.evidence["gave up"] += worker.observation.counts["retries"] - before
