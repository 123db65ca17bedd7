"""Faults at random for as long as asked, a shop at work all the while; then heal, drain, compare.

    python -m tests.faults.soak --minutes 20 --seed 7

On a Kafka and a PostgreSQL of its own. Exit code 0: every row is equal, every fault shows, and the workers hold no
more memory, connections and descriptors than in the calm before the first fault, none of them having ended unasked.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from random import SystemRandom

import uvloop

from runtime.embedded.apache_kafka import ApacheKafka
from runtime.embedded.postgres import EmbeddedPostgres
from tests.faults import checks
from tests.faults.load import shop
from tests.faults.mix import MIX, Mix
from tests.faults.play import at_rest
from tests.faults.scene import Scene, scene
from tests.faults.sizes import held
from tests.faults.stage import Stage
from tests.faults.table import table

CALM = 30.0  # seconds without a fault, before the first and after the last: what workers hold then is compared
PATIENCE = 300.0  # seconds to lag 0
PARTITIONS = 12
SETTINGS = {"PROJECTOR_STATEMENT_TIMEOUT": 3, "PROJECTOR_BATCH_SIZE": 1_000}


async def soak(minutes: float, seed: int, rate: float, least: int) -> int:
    """The exit code."""
    with ApacheKafka() as kafka, EmbeddedPostgres() as postgres:
        stage = Stage(kafka.bootstrap(), postgres.url(), kafka, postgres)
        async with _scene(stage, seed) as on:
            mix = Mix(on)
            await mix.restore(2)
            on.load.start(shop(seed, on.topic), rate, least)
            before = await _calm()
            try:
                await mix.run(minutes * 60)
            except BaseException:
                print("\n".join(table(mix.played)))
                raise
            await mix.restore(2)
            mix.unasked("after the last fault")
            after = await _calm()
            return await _judged(on, mix, before, after)


@asynccontextmanager
async def _scene(stage: Stage, seed: int) -> AsyncIterator[Scene]:
    """With everything in place that faults of the mix want to stand before the first worker starts."""
    async with scene(stage, seed, PARTITIONS, **SETTINGS) as on, AsyncExitStack() as stack:
        for around in dict.fromkeys(fault.around for fault in MIX):
            await stack.enter_async_context(around(on))
        yield on


async def _calm() -> tuple[float, float]:
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(CALM)
    return began, asyncio.get_running_loop().time()


async def _judged(on: Scene, mix: Mix, before: tuple[float, float], after: tuple[float, float]) -> int:
    played = mix.played
    await on.load.finish()
    log = on.load.log
    began = time.monotonic()
    await on.fleet.caught_up(log.ends, PATIENCE)
    drained = time.monotonic() - began
    wrong = await at_rest(on)
    sizes = held(on.gauges.sizes, before, after)
    settled = log.stream.settled()
    found = await checks.everything(on, log, settled)
    wrong += mix.wrong + [line for one in played for line in one.wrong] + [str(one) for one in sizes if one.grown]
    print("\n".join(["", *table(played), "", *map(str, sizes), "", *found[:20], *wrong]))
    print(
        f"{len(played)} faults of {len({one.fault.id for one in played})} kinds, {len(log.sent):,} events sent, "
        f"{settled.duplicates:,} of them copies, {len(settled.dead):,} letters, {len(settled.erased):,} orders erased; "
        f"drained in {drained:.1f} s; {len(found)} differences, {len(wrong)} other things wrong; seed {on.seed}"
    )
    return 1 if found or wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.faults.soak", description=__doc__, allow_abbrev=False)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1, 1_000_000))
    parser.add_argument("--rate", type=float, default=1_000, help="events a second")
    parser.add_argument("--events", type=int, help="at least so many (50,000 a minute if left out)")
    given = parser.parse_args()
    least = int(given.minutes * 50_000) if given.events is None else given.events
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that a broker was killed, we know
    print(f"soak of {given.minutes:g} minutes from seed {given.seed}, {len(MIX)} kinds of fault", flush=True)
    return uvloop.run(soak(given.minutes, given.seed, given.rate, least))


if __name__ == "__main__":
    sys.exit(main())
