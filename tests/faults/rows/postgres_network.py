"""The way to PostgreSQL: commits lost on it, slow (or the server itself), half-open, packets dropped."""

from __future__ import annotations

import asyncio

from testkit.deadline import eventually
from tests.faults import checks
from tests.faults.between import postgres_proxied, postgres_proxy
from tests.faults.evidence import seen
from tests.faults.fault import fault
from tests.faults.scene import Scene
from tests.support.saboteurs.firewall import firewall
from tests.support.saboteurs.needs import need_firewall
from tests.support.saboteurs.postgres import Lost

PATIENCE = {"PROJECTOR_STATEMENT_TIMEOUT": 3, "PROJECTOR_CONNECT_TIMEOUT": 3}
_ANSWER = 3 + 5 + 3  # seconds until a worker gives up an answer, and then a connection


@fault(
    32,
    "COMMIT's outcome unknown: the reply lost, the request lost",
    tier="short",
    shown_by=("reply lost", "request lost", "again for PostgreSQL"),
    around=postgres_proxied,
    mixed=1,
)
async def commit_unknown(scene: Scene) -> None:
    for _ in range(3):
        await _loses(scene, "reply")
        await _loses(scene, "request")


async def _loses(scene: Scene, what: Lost) -> None:
    proxy, name = postgres_proxy(scene), f"{what} lost"
    before = proxy.counts[name]
    proxy.lose(what)
    await eventually(lambda: proxy.counts[name] > before, 30)
    scene.evidence[name] += 1
    await scene.works()


async def _slow(scene: Scene, seconds: float) -> None:
    """Everything takes longer, on the way there and on the way back. No worker loses a partition for it."""
    proxy = postgres_proxy(scene)
    proxy.to_server.delay = proxy.to_client.delay = seconds
    await _works_slowly(scene)
    proxy.to_server.delay = proxy.to_client.delay = 0
    scene.evidence["pieces delayed"] += proxy.to_server.delayed + proxy.to_client.delayed


async def _works_slowly(scene: Scene) -> None:
    before = seen(scene.fleet.members)["assignments"]
    await scene.works(500, 120)
    assert seen(scene.fleet.members)["assignments"] == before, "slowness is no reason to rebalance"


SLOW = {"shown_by": ("pieces delayed",), "settings": {"PROJECTOR_BATCH_SIZE": 500}, "around": postgres_proxied}


@fault(33, "PostgreSQL 200 ms away in each direction", mixed=1, **SLOW)
async def postgres_far(scene: Scene) -> None:
    await _slow(scene, 0.2)


@fault(33, "PostgreSQL 500 ms away in each direction", **SLOW)
async def postgres_very_far(scene: Scene) -> None:
    await _slow(scene, 0.5)


@fault(33, "PostgreSQL slow: a trigger that sleeps", shown_by=("inserts slowed",))
async def postgres_slow(scene: Scene) -> None:
    """Each statement that adds to the ledger takes 50 to 200 ms, in the transaction and with all its locks."""
    await scene.connection.execute(_SLEEPS)
    try:
        await _works_slowly(scene)
        scene.evidence["inserts slowed"] += await scene.connection.fetchval("SELECT last_value FROM projector.slowed")
    finally:
        await scene.connection.execute(_SLEEPS_NO_MORE)


# A sequence counts what is rolled back, too; from 0, so that one which was never asked says 0.
_SLEEPS = """
    CREATE SEQUENCE projector.slowed MINVALUE 0;
    CREATE FUNCTION projector.sleep() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM nextval('projector.slowed'), pg_sleep(0.05 + 0.15 * random());
            RETURN NULL;
        END
    $$;
    CREATE TRIGGER slow AFTER INSERT ON projector.ledger EXECUTE FUNCTION projector.sleep();
"""
_SLEEPS_NO_MORE = """
    DROP TRIGGER slow ON projector.ledger;
    DROP FUNCTION projector.sleep();
    DROP SEQUENCE projector.slowed;
"""


HALF_OPEN = {"settings": PATIENCE, "around": postgres_proxied}


@fault(
    34,
    "connections to PostgreSQL half-open, for ever",
    shown_by=("abandoned", "again for PostgreSQL"),
    mixed=1,
    **HALF_OPEN,
)
async def half_open(scene: Scene) -> None:
    """Neither end hears of the other again. What the server's end has locked, it has to let go by itself."""
    proxy = postgres_proxy(scene)
    async with scene.connection.transaction():
        await scene.connection.execute("LOCK TABLE projector.ledger IN SHARE MODE")
        await scene.in_transaction(0.1)
        scene.evidence["abandoned"] += proxy.abandon()
    await eventually(lambda: checks.idle_in_transaction(scene.connection), 10)
    scene.healed()  # nobody will do more for them
    await eventually(lambda: _let_go(scene), 30)
    await scene.works()
    proxy.forget()


async def _let_go(scene: Scene) -> bool:
    return await checks.idle_in_transaction(scene.connection) == []


@fault(34, "PostgreSQL takes connections and says nothing", shown_by=("ignored", "again for PostgreSQL"), **HALF_OPEN)
async def ignored(scene: Scene) -> None:
    proxy = postgres_proxy(scene)
    proxy.manners = "ignore"
    proxy.abandon()
    await eventually(lambda: proxy.counts["ignored"] >= 4, 6 * _ANSWER)
    scene.evidence["ignored"] += proxy.counts["ignored"]
    proxy.manners = "serve"
    proxy.forget()


@fault(34, "packets to and from PostgreSQL dropped", shown_by=("packets dropped", "again for PostgreSQL"), **HALF_OPEN)
async def postgres_unreachable(scene: Scene) -> None:
    need_firewall()
    with firewall(postgres_proxy(scene).port) as wall:
        before = seen(scene.fleet.members)["again for PostgreSQL"]
        await eventually(lambda: seen(scene.fleet.members)["again for PostgreSQL"] > before, 2 * _ANSWER)
        await asyncio.sleep(_ANSWER)
        scene.evidence["packets dropped"] += wall.stopped()
    scene.healed()
    await scene.works()
    postgres_proxy(scene).reset()  # among them what the workers gave up and nobody has told the server about
