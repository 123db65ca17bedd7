"""A primary that is lost, and its synchronous standby in its place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import asyncpg

from consumer.install import install
from testkit.deadline import eventually
from tests.faults.between import postgres_proxied, postgres_proxy
from tests.faults.evidence import logged
from tests.faults.fault import fault
from tests.faults.scene import Scene
from tests.support.fleet import Member
from tests.support.saboteurs.standby import Pair, address, make_synchronous, pair


@asynccontextmanager
async def _pair_behind_proxy(scene: Scene) -> AsyncIterator[None]:
    """The fleet works on a pair of servers of its own, and finds the primary by way of a proxy."""
    with pair() as both:
        await make_synchronous(both)
        shared = scene.fleet.connection
        scene.fleet.connection = await asyncpg.connect(both.primary.url())
        await install(scene.connection)
        scene.tools["pair"], scene.fleet.url = both, both.primary.url()
        scene.fleet.settings["DATABASE_URL"] = scene.fleet.url
        try:
            async with postgres_proxied(scene):
                yield
        finally:
            scene.fleet.connection.terminate()
            scene.fleet.connection = shared


def _pair(scene: Scene) -> Pair:
    both = scene.tools["pair"]
    assert isinstance(both, Pair)
    return both


def _read_only(members: Iterable[Member]) -> int:
    """How often they were told that the server is read-only."""
    return sum("SQLSTATE 25006" in str(line.get("reason")) for member in members for line in logged(member))


async def _now_on_standby(scene: Scene) -> None:
    """The test's own connection, too."""
    scene.fleet.url = _pair(scene).standby.url()
    await scene.fleet.reconnect()


PAIR = {"around": _pair_behind_proxy}


@fault(30, "failover to a promoted synchronous standby", shown_by=("failovers", "again for PostgreSQL"), **PAIR)
async def failover(scene: Scene) -> None:
    both = _pair(scene)
    await asyncio.to_thread(both.primary.kill9)
    await both.promote()
    scene.evidence["failovers"] += 1
    postgres_proxy(scene).lead_to(address(both.standby.url()))
    scene.healed()
    await _now_on_standby(scene)
    await scene.works()


@fault(31, "failover that leads to the standby before it is promoted", shown_by=("read-only",), **PAIR)
async def failover_too_early(scene: Scene) -> None:
    both = _pair(scene)
    workers = scene.running
    await asyncio.to_thread(both.primary.kill9)
    postgres_proxy(scene).lead_to(address(both.standby.url()))
    await eventually(lambda: all(_read_only([worker]) for worker in workers), 60)
    scene.evidence["read-only"] += _read_only(workers)
    await both.promote()
    scene.healed()
    await _now_on_standby(scene)
    await scene.works()
    assert scene.running == workers, "a read-only server is no reason to end"


@fault(31, "old primary read-only and reachable, the standby promoted", shown_by=("read-only",), **PAIR)
async def switchover(scene: Scene) -> None:
    """Connections to the old primary live on: nothing but its answer says that it is the wrong one by now."""
    both = _pair(scene)
    workers = scene.running
    await scene.connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    await scene.connection.execute("SELECT pg_reload_conf()")
    await eventually(lambda: all(_read_only([worker]) for worker in workers), 60)
    scene.evidence["read-only"] += _read_only(workers)
    await both.promote()
    postgres_proxy(scene).lead_to(address(both.standby.url()))
    scene.healed()
    await _now_on_standby(scene)
    await scene.works(timeout=30)
    assert scene.running == workers, "a read-only server is no reason to end"
