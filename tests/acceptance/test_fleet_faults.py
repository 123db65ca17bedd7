"""A machine's supervisor loses a member. What else may befall workers is in `tests/faults`."""

from __future__ import annotations

import os
import signal
import time

import pytest

from testkit.deadline import eventually
from tests.support.fleet import fleet
from tests.support.streams import demo_stream, differences, publish

pytestmark = pytest.mark.apache_kafka

BATCH = {"PROJECTOR_BATCH_SIZE": 100}


async def test_a_machines_members_are_watched_over_and_stopped_together(
    kafka_bootstrap: str, database_url: str, topic: str
) -> None:
    sent = demo_stream(100, topic=topic).shuffled(seed=5)

    async with fleet(kafka_bootstrap, database_url, topic, **BATCH) as workers:
        supervisor = workers.start("--processes", "2")

        async def two_share(without: int | None = None) -> list[int]:
            pids = sorted({int(owner.rpartition("-")[2]) for owner in (await workers.owners()).values()})
            assert len(pids) == 2, pids
            assert without not in pids
            return pids

        first, second = await eventually(two_share, timeout=30)
        assert supervisor.pid not in (first, second)
        os.kill(first, signal.SIGKILL)
        third = sum(await eventually(lambda: two_share(without=first), timeout=40)) - second
        ends = await publish(kafka_bootstrap, topic, sent)
        await workers.caught_up(ends)
        assert await differences(workers.connection, sent.settled()) == []
        supervisor.signal(signal.SIGTERM)
        began = time.monotonic()
        assert await supervisor.ended() == 0
        assert time.monotonic() - began < 10
        for member in (second, third):
            with pytest.raises(ProcessLookupError):
                os.kill(member, 0)
