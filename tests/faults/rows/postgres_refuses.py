"""A PostgreSQL that answers, and will not: a right taken away, locks, deadlocks, no connection to be had."""

from __future__ import annotations

from collections.abc import Iterable

import asyncpg

from testkit.deadline import eventually
from tests.faults.evidence import logged
from tests.faults.fault import fault
from tests.faults.logins import login_of, worker_login
from tests.faults.scene import Scene
from tests.support.fleet import Member

OWN = {"needs": frozenset({"postgres"}), "around": worker_login}
LETTERS = "projector.dead_letters"


def _said(members: Iterable[Member], state: str) -> int:
    """How often they logged this SQLSTATE."""
    return sum(f"SQLSTATE {state}" in str(line.get("reason")) for member in members for line in logged(member))


@fault(28, "right to insert dead letters taken away", shown_by=("stopped for a person",), exits=frozenset({2}), **OWN)
async def no_right_to_letters(scene: Scene) -> None:
    """Nothing is skipped: workers end, and those that are started again end too, until the right is back."""
    await scene.connection.execute(f"REVOKE INSERT ON {LETTERS} FROM projector_worker")
    for member in (*scene.running, scene.start()):
        assert await member.ended(60) == 2
        assert "42501" in member.said()
        scene.evidence["stopped for a person"] += 1
    await scene.connection.execute(f"GRANT INSERT ON {LETTERS} TO projector_worker")


@fault(35, "a table locked by a person", shown_by=("lock time-outs",), settings={"PROJECTOR_STATEMENT_TIMEOUT": 2})
async def locked(scene: Scene) -> None:
    async with scene.connection.transaction():
        await scene.connection.execute("LOCK TABLE projector.ledger IN ACCESS EXCLUSIVE MODE")
        await eventually(lambda: all(_said([one], "55P03") + _said([one], "57014") for one in scene.running), 60)
    scene.evidence["lock time-outs"] += _said(scene.running, "55P03") + _said(scene.running, "57014")


@fault(36, "deadlocks with a worker as the victim", shown_by=("deadlocks", "again for PostgreSQL"), mixed=1)
async def deadlocks(scene: Scene) -> None:
    """Somebody takes the orders' rows and then the checkpoints', against the order that the workers keep."""
    await eventually(lambda: _crosses(scene, 3), 120)
    scene.evidence["deadlocks"] += _said(scene.running, "40P01")


async def _crosses(scene: Scene, often: int) -> bool:
    """Whether a worker was the victim this often by now; it may be the other one, or nobody."""
    await scene.works()
    try:
        async with scene.connection.transaction():
            await scene.connection.execute("LOCK TABLE projector.orders IN SHARE ROW EXCLUSIVE MODE")
            await scene.in_transaction(0.1)
            await scene.connection.execute("SELECT FROM projector.checkpoints FOR UPDATE")
    except asyncpg.DeadlockDetectedError:
        return False
    await scene.works()
    return _said(scene.running, "40P01") >= often


@fault(38, "no connection to be had: too many", shown_by=("connections refused",), **OWN)
async def too_many_connections(scene: Scene) -> None:
    login = login_of(scene)
    await scene.connection.execute(f"ALTER ROLE {login} CONNECTION LIMIT 1")
    await scene.connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{login}'")
    await eventually(lambda: _said(scene.running, "53300") >= 3, 60)
    scene.evidence["connections refused"] += _said(scene.running, "53300")
    await scene.connection.execute(f"ALTER ROLE {login} CONNECTION LIMIT -1")
