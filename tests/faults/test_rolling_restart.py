"""Three workers are replaced one after the other under load: no reader waits long for any order's new version."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

import asyncpg
import pytest

from testkit.deadline import eventually
from tests.faults import checks
from tests.faults.load import shop
from tests.faults.reader import Reader, untrue, waits, with_probes
from tests.faults.rows.rebalances import leaves
from tests.faults.scene import Scene, scene
from tests.faults.stage import Stage

pytestmark = [
    pytest.mark.apache_kafka,
    pytest.mark.skipif(os.environ.get("FAULTS") != "full", reason="of the full tier: FAULTS=full"),
]

RATE = 2_000  # events a second
LONGEST = 5.0  # seconds that 99.9 % of the events may be waited for
_ACHIEVED = 0.95  # of the rate: with less, there was less to wait for than is claimed
CALM = 5.0  # seconds of load before, between and after
DEFAULTS = {"PROJECTOR_BATCH_SIZE": 5_000, "PROJECTOR_SESSION_TIMEOUT": 10}


async def test_a_rolling_restart_keeps_no_reader_waiting(
    kafka_bootstrap: str, postgres_url: str, base_seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    async with scene(Stage(kafka_bootstrap, postgres_url), base_seed, partitions=12, **DEFAULTS) as on:
        on.expected = 3
        await on.replace()
        await on.shared()
        reader = Reader(await asyncpg.connect(on.fleet.url), on.topic)
        reading = asyncio.ensure_future(reader.run())
        try:
            on.load.start(with_probes(shop(base_seed, on.topic, duplicates=0, shuffle=0)), RATE, 0)
            await _rolling_restart(on)
            achieved = await on.load.finish()
            await on.fleet.caught_up(on.load.log.ends)
            await eventually(lambda: reader.has_seen(on.load.log.ends))
        finally:
            reading.cancel()
            await asyncio.wait([reading])
            await reader.connection.close()
        log = on.load.log
        waited = waits(log, reader.looks)
        with capsys.disabled():
            print(f"\n{_said(waited)}, {len(reader.looks)} looks, from seed {base_seed}")
        assert achieved >= _ACHIEVED * RATE, f"only {achieved:,.0f} events/s were sent"
        assert await on.fleet.stop() == [0] * 6
        assert untrue(log, reader.looks) == []
        assert await checks.everything(on, log, log.stream.settled()) == []
        assert _percentile(waited, 99.9) < LONGEST, _said(waited)


async def _rolling_restart(on: Scene) -> None:
    """One leaves, another comes and works; then the next one."""
    await asyncio.sleep(CALM)
    for member in on.running:
        await leaves(on, member)
        on.start()
        await on.shared()
        await asyncio.sleep(CALM)


def _percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest rank: a value that was really measured."""
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]


def _said(waited: Sequence[float]) -> str:
    ranks = ", ".join(f"p{percent:g} {_percentile(waited, percent) * 1000:,.0f} ms" for percent in (50, 99, 99.9))
    return f"rolling restart under {RATE:,} events/s: {len(waited):,} events waited for {ranks}, max {waited[-1]:.2f} s"
