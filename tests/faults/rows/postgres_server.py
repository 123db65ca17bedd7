"""PostgreSQL shut down, killed and frozen."""

from __future__ import annotations

import asyncio
import signal
from contextlib import ExitStack

from runtime.embedded.postgres import FAST_SHUTDOWN, IMMEDIATE_SHUTDOWN, EmbeddedPostgres
from runtime.embedded.processes import Ending
from testkit.deadline import eventually
from tests.faults.evidence import seen
from tests.faults.fault import fault
from tests.faults.scene import Scene
from tests.support.saboteurs.signals import frozen, stands_still

OWN = {"needs": frozenset({"postgres"})}
_BACKENDS = """
    SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'projector-worker'
"""


async def _noticed(scene: Scene) -> None:
    """Wait until a worker has had to do a batch again."""
    before = seen(scene.fleet.members)["again for PostgreSQL"]
    await eventually(lambda: seen(scene.fleet.members)["again for PostgreSQL"] > before, 60)


async def _restarted(scene: Scene, ending: Ending) -> None:
    """The server ends in this way under the fleet, and is started again when that was noticed."""
    server = scene.stage.postgres
    assert server is not None
    assert server.process is not None
    await asyncio.to_thread(server.process.end, ending)
    scene.evidence["restarts"] += 1
    await _noticed(scene)
    await asyncio.to_thread(server.start)
    await scene.fleet.reconnect()


RESTARTED = {"seeds": 3, "shown_by": ("restarts", "again for PostgreSQL"), **OWN}


@fault(29, "PostgreSQL restarted, fast shutdown", **RESTARTED)
async def postgres_restarted(scene: Scene) -> None:
    await _restarted(scene, FAST_SHUTDOWN)


@fault(29, "PostgreSQL restarted, immediate shutdown", **RESTARTED)
async def postgres_stopped_at_once(scene: Scene) -> None:
    await _restarted(scene, IMMEDIATE_SHUTDOWN)


@fault(29, "PostgreSQL's postmaster killed", tier="short", mixed=1, **RESTARTED)
async def postgres_killed(scene: Scene) -> None:
    await _restarted(scene, [(signal.SIGKILL, 10.0)])


FROZEN = {"settings": {"PROJECTOR_STATEMENT_TIMEOUT": 2}, "shown_by": ("frozen", "again for PostgreSQL"), **OWN}


@fault(34, "PostgreSQL's backends frozen", **FROZEN)
async def backends_frozen(scene: Scene) -> None:
    """In their transactions: what they have locked stands still, though new connections can be had."""
    async with scene.connection.transaction():
        await scene.connection.execute("LOCK TABLE projector.ledger IN SHARE MODE")
        await scene.in_transaction(0.1)
        pids = [row["pid"] for row in await scene.connection.fetch(_BACKENDS)]
        stack = ExitStack()
        stopped = stack.enter_context(frozen(*pids))
    with stack:
        await eventually(lambda: all(map(stands_still, stopped)))
        scene.evidence["frozen"] += len(stopped)
        await _noticed(scene)
        await asyncio.sleep(10)  # longer than a worker waits for any answer


@fault(34, "PostgreSQL frozen as a whole", **FROZEN)
async def postgres_frozen(scene: Scene) -> None:
    process = _running(scene.stage.postgres)
    with frozen(process) as stopped:
        await eventually(lambda: all(map(stands_still, stopped)))
        scene.evidence["frozen"] += len(stopped)
        await _noticed(scene)
        await asyncio.sleep(10)


def _running(server: EmbeddedPostgres | None) -> int:
    assert server is not None
    assert server.process is not None
    return server.process.pid
