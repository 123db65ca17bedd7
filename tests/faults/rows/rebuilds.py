"""Rebuilds while the fleet works: killed, swapped in under load, kept from swapping, two at once, of other code.

All of it by the program itself, as an operator runs it; from the log or from the journal, by the seed.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg

from testkit.deadline import eventually
from tests.faults.evidence import logged, stands_at
from tests.faults.fault import fault
from tests.faults.load import shop
from tests.faults.onlookers import CUSTOMERS, Seen, onlookers
from tests.faults.reader import Reader, untrue, with_probes
from tests.faults.scene import Scene
from tests.support import makes, rebuilding
from tests.support.fleet import Member
from tests.support.rebuilding import leftovers

SOURCES = ("log", "journal")

POINTS = (
    *rebuilding.POINTS,
    "rebuild_align",
    "rebuild_swap_locked",
    "rebuild_swap",
    "rebuild_swapped",
)  # in the order in which a run reaches them; one that goes on reaches those behind where the last one was killed

FULL = os.environ.get("FAULTS") == "full"
ROUNDS, WAYS = 2, 9  # rebuilds, and how often it goes back and there again after each
READERS = 8
FEWER = range(400, 3_000)  # customers that have a few orders each when there are hundreds of thousands
STALL = 0.5  # seconds that a reader may wait at most
AROUND = 1.0  # seconds before and after a swap that count as its own
BLOCKED = 30.0  # seconds that somebody's transaction keeps the swap waiting
_LONG = 300.0  # seconds for a rebuild to end, beside a load that takes all that the machine has

EVERYTHING_READ = "SELECT count(*) FROM read_model.order_summary JOIN read_model.customer_summary USING (customer_id)"


@asynccontextmanager
async def _started(
    scene: Scene, *arguments: str, command: str = "rebuild", failpoints: str = ""
) -> AsyncIterator[Member]:
    """The program, gone when the context ends."""
    source = ("--source", SOURCES[scene.seed % 2]) if command == "rebuild" else ()
    settings = {
        "DATABASE_URL": scene.fleet.url,
        "KAFKA_BOOTSTRAP_SERVERS": scene.stage.bootstrap,
        "PROJECTOR_TOPICS": scene.topic,
        "PROJECTOR_FAILPOINTS": failpoints,
    }
    member = Member(("-m", "cli", command, *source, *arguments), settings)
    try:
        yield member
    finally:
        member.close()


async def _run(scene: Scene, *arguments: str, command: str = "rebuild") -> None:
    """One that has to come to its end."""
    async with _started(scene, *arguments, "--json", command=command) as member:
        try:
            assert await member.ended(_LONG) == 0, member.said()[-4000:]
        except AssertionError as error:
            error.add_note(f"it said: {member.said()[-4000:]}")
            raise


async def _code(scene: Scene, command: str) -> int:
    """With which code it ends."""
    async with _started(scene, command=command) as member:
        return await member.ended(_LONG)


@asynccontextmanager
async def _watched(
    scene: Scene, rate: float, readers: int, customers: range = CUSTOMERS
) -> AsyncIterator[Callable[[], Seen]]:
    """A shop at work, and readers who look at it: what they see is what the checkpoints imply, and agrees."""
    scene.load.start(with_probes(shop(seed=scene.seed, topic=scene.topic)), rate, 0)
    await scene.works()
    reader = Reader(await asyncpg.connect(scene.fleet.url), scene.topic)
    reading = asyncio.ensure_future(reader.run())
    try:
        async with onlookers(scene.fleet.url, readers, scene.seed, customers) as seen:
            yield seen
    finally:
        reading.cancel()
        await asyncio.wait([reading])
        await reader.connection.close()
    assert reading.cancelled(), reading.exception()
    await scene.load.acknowledged()
    assert untrue(scene.load.log, reader.looks)[:5] == []
    assert seen().wrong[:5] == []
    scene.evidence["looks"] += len(seen().looks)


@fault(
    46, "a rebuild killed at each of its steps", tier="short", seeds=4, rate=0, shown_by=("rebuilds killed", "looks")
)
async def rebuild_killed(scene: Scene) -> None:
    """Each run goes on where the one before was killed, until one comes to its end; now and then one does sooner."""
    async with _watched(scene, 600 if FULL else 150, 2):
        for point in POINTS:
            if scene.random.random() < (0.3 if FULL else 0):
                await _run(scene)
            async with _started(scene, failpoints=f"{point}=kill9") as victim:
                assert await victim.ended(_LONG) == -signal.SIGKILL, victim.said()[-4000:]
                assert stands_at(victim, point)
            scene.evidence["rebuilds killed"] += 1
            scene.evidence[f"killed at {point}"] += 1
        await _run(scene)
        assert await leftovers(scene.connection) == []


@fault(
    47,
    "swaps under load, back and forth",
    rate=0,
    settings={"PROJECTOR_BATCH_SIZE": 1_000},
    limit=60.0,  # the events come as fast as this machine can take them beside a rebuild
    shown_by=("ms of a reader's longest wait at a swap", "swaps", "looks"),
)
async def swapped_under_load(scene: Scene) -> None:
    """Rebuilds, and ways back and there again: each a swap, seen by eight readers. How long these wait anyhow, on a
    machine that has more to do than it can, is told beside it."""
    async with _watched(scene, 2_000, READERS, FEWER) as seen:
        for _ in range(ROUNDS):
            await _run(scene)
            for _ in range(WAYS):
                await _run(scene, command="rollback")
        rows = await scene.connection.fetch(
            "SELECT extract(epoch FROM ended_at)::float8 AS moment FROM projector.rebuilds"
            " WHERE state IN ('swapped', 'rolled_back')"
        )
        scene.evidence["swaps"] += len(rows)
        assert scene.evidence["swaps"] == ROUNDS * (1 + WAYS)
        assert await leftovers(scene.connection) == []
    longest, otherwise = seen().longest([row["moment"] for row in rows], AROUND)
    scene.evidence["ms of a reader's longest wait at a swap"] += int(longest * 1000)
    scene.evidence["ms at other times"] += int(otherwise * 1000)
    assert longest < STALL, f"a reader waited {longest:.3f} s at a swap, {otherwise:.3f} s at other times"


@fault(
    48,
    "a swap kept waiting by a long reader",
    rate=0,
    shown_by=("ms of other readers' p99", "attempts given up", "looks"),
)
async def long_reader(scene: Scene) -> None:
    """Each attempt gives up soon, so that others don't wait behind it; it succeeds once the reader has gone."""
    async with _watched(scene, 600, READERS) as seen, _started(scene) as member:
        reader = await asyncpg.connect(scene.fleet.url)
        try:
            async with reader.transaction():
                await reader.fetchval(EVERYTHING_READ)
                await eventually(lambda: _attempts(member) > 0, _LONG)
                await asyncio.sleep(BLOCKED)  # what passes is the fault
                assert member.code is None
        finally:
            await reader.close()
        scene.evidence["attempts given up"] += _attempts(member)
        assert await member.ended(_LONG) == 0, member.said()[-4000:]
        assert await leftovers(scene.connection) == []
    scene.evidence["ms of other readers' p99"] += int(seen().percentile(99) * 1000)
    longest = seen().looks[-1]
    assert longest < STALL, f"a reader waited {longest:.3f} s"


def _attempts(member: Member) -> int:
    return sum(line.get("event") == "swap_again" for line in logged(member))


@fault(
    49,
    "two rebuilds at once, and a deployment",
    rate=300,
    least=500,
    shown_by=("refused", "workers started"),
)
async def two_at_once(scene: Scene) -> None:
    """The second is refused, a migration with nothing to do is none, and workers come and go."""
    blocker = await asyncpg.connect(scene.fleet.url)
    try:
        async with _started(scene) as first:
            async with blocker.transaction():
                await blocker.fetchval(EVERYTHING_READ)
                await eventually(lambda: _attempts(first) > 0, _LONG)
                scene.start()
                codes = await asyncio.gather(*(_code(scene, name) for name in ("rebuild", "rollback", "migrate")))
                assert codes == [2, 2, 0]
                scene.evidence["refused"] += 2
                await scene.shared()
                scene.evidence["workers started"] += 1
            assert await first.ended(_LONG) == 0, first.said()[-4000:]
    finally:
        await blocker.close()
    assert await leftovers(scene.connection) == []


@asynccontextmanager
async def _older_workers(scene: Scene) -> AsyncIterator[None]:
    """The release before is at work: its workers, and its make in the database."""
    older = makes.CustomerSummary()
    await scene.connection.execute(
        "UPDATE projector.read_models SET fingerprint = $2 WHERE name = $1", older.name, older.fingerprint
    )
    scene.fleet.program = ("-m", "tests.faults.older")
    yield


@fault(
    50,
    "a read model whose code was changed",
    around=_older_workers,
    exits=frozenset({2}),
    shown_by=("workers of the old make kept out", "rows that were wrong"),
)
async def changed_code(scene: Scene) -> None:
    """Same versions, other rows: the generation says so, and who makes them as before ends."""
    await scene.works(2_000)
    older = scene.running
    async with _started(scene, "--changed", "--json") as member:
        assert await member.ended(_LONG) == 0, member.said()[-4000:]
        [told] = [line for line in logged(member) if "state" in line]
    assert (told["state"], told["rebuilt"]) == ("swapped", ["customer_summary"])
    scene.evidence["rows that were wrong"] += told["differences"]["customer_summary"]["rows"]
    for worker in older:
        assert await worker.ended(60) == 2, worker.said()[-4000:]
        scene.evidence["workers of the old make kept out"] += 1
    generation = "SELECT generation FROM projector.read_models WHERE name = 'customer_summary'"
    assert await scene.connection.fetchval(generation) == 2
    scene.fleet.program = ("-m", "cli")
