"""Two worker processes, the demo's stream, any order of arrival: the read models come out the same.

`ACCEPTANCE_ORDERS` sets the size of the stream (default 200 orders, about 1,200 records); `ACCEPTANCE_SEED` repeats
the orders of arrival of an earlier run.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from random import SystemRandom

import pytest

from schemas.connection import Connection
from tests.support.fleet import fleet
from tests.support.streams import demo_stream, differences, publish

pytestmark = pytest.mark.apache_kafka

ORDERS = int(os.environ.get("ACCEPTANCE_ORDERS", "200"))
FIRST = int(os.environ.get("ACCEPTANCE_SEED", "0")) or SystemRandom().randrange(1, 1_000_000)
TIMES = 20
PATIENCE = 60 + ORDERS / 50  # seconds


@pytest.mark.parametrize("time_", range(TIMES))  # not the seed: all processes of a test run have to know its name
async def test_the_demo_stream_in_a_random_order_leaves_no_difference(
    kafka_bootstrap: str, database_url: str, topic: str, time_: int, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = FIRST + time_
    sent = demo_stream(ORDERS, topic=topic).shuffled(seed)
    settled = sent.settled()
    batch_size = max(100, len(sent.deliveries) // 50)
    async with fleet(kafka_bootstrap, database_url, topic, PROJECTOR_BATCH_SIZE=batch_size) as workers:
        await workers.shared_by(workers.start(), workers.start())
        began = time.monotonic()
        await workers.caught_up(await publish(kafka_bootstrap, topic, sent), PATIENCE)
        seconds = time.monotonic() - began
        assert await workers.stop() == [0, 0]
        found = await differences(workers.connection, settled)
        counts = await _counts(workers.connection)
    with capsys.disabled():
        print(f" order of arrival {seed}: {len(sent.deliveries)} records in {seconds:.1f} s, {len(found)} differences")
    assert found == [], f"ACCEPTANCE_SEED={seed} ACCEPTANCE_ORDERS={ORDERS} makes this order of arrival again"
    assert settled.parked == []
    assert {reason for reason, _ in settled.dead} == {"unreadable"}
    events = Counter(one.meant.kind for one in sent.deliveries)
    assert counts == {"parked": 0, "letters": events["broken"], "events": sum(map(len, settled.applied.values()))}


async def _counts(connection: Connection) -> dict[str, int]:
    row = await connection.fetchrow(
        """SELECT (SELECT count(*) FROM projector.parked_events) AS parked,
                  (SELECT count(*) FROM projector.dead_letters) AS letters,
                  (SELECT count(*) FROM projector.processed_events) AS events"""
    )
    assert row is not None
    return dict(row)
