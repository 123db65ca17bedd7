"""Workers that watch over themselves: health as an orchestrator sees it, an end when nothing moves, no orphans."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import urllib.request
from pathlib import Path
from urllib.error import URLError

import pytest

from runtime.embedded.ports import free_port
from testkit.deadline import eventually
from tests.support.fleet import fleet
from tests.support.streams import Stream, demo_stream, differences, publish, stream

pytestmark = pytest.mark.apache_kafka


def _status(port: int, page: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/{page}", timeout=5) as answer:
            code: int = answer.status
            return code
    except URLError as refusal:
        return getattr(refusal, "code", 0)


async def ready(port: int) -> bool:
    return await asyncio.to_thread(_status, port, "ready") == 200


async def test_a_worker_is_ready_when_it_works_and_not_while_its_schema_is_behind(
    kafka_bootstrap: str, database_url: str, topic: str
) -> None:
    port = free_port()
    async with fleet(kafka_bootstrap, database_url, topic, PROJECTOR_METRICS_PORT=port) as workers:
        worker = workers.start()
        await workers.shared_by(worker)
        await eventually(lambda: ready(port))
        await workers.connection.execute("UPDATE projector.read_models SET fingerprint = 'x' || fingerprint")
        await eventually(lambda: _not_ready(port), timeout=20)
        assert await asyncio.to_thread(_status, port, "live") == 200
        await workers.connection.execute("UPDATE projector.read_models SET fingerprint = substr(fingerprint, 2)")
        await eventually(lambda: ready(port), timeout=20)


async def _not_ready(port: int) -> bool:
    return await asyncio.to_thread(_status, port, "ready") == 503


@pytest.mark.parametrize(
    ("point", "says"),
    [
        ("before_tx=hang:2", "records wait and none was applied"),
        ("after_fetch=block(60):3", "the event loop stands still"),
        ("on_assigned=hang", "no assignment for"),
    ],
    ids=["batch", "loop", "assignment"],
)
async def test_a_worker_that_is_stuck_ends_and_another_one_goes_on(
    kafka_bootstrap: str, database_url: str, topic: str, point: str, says: str
) -> None:
    sent = demo_stream(100, topic=topic).shuffled(seed=1)
    ends = await publish(kafka_bootstrap, topic, sent)
    async with fleet(kafka_bootstrap, database_url, topic, PROJECTOR_BATCH_SIZE=50) as workers:
        worker = workers.start(PROJECTOR_FAILPOINTS=point, PROJECTOR_STUCK_TIMEOUT=3)
        assert await worker.ended(timeout=40) == 1
        assert says in worker.said()
        workers.members.remove(worker)
        workers.start()
        await workers.caught_up(ends)
        assert await differences(workers.connection, sent.settled()) == []
        worker.close()


async def test_a_worker_that_waits_for_postgresql_keeps_its_partitions(
    kafka_bootstrap: str, database_url: str, topic: str
) -> None:
    """Longer than Kafka's client lets a member be silent: it polls though it can't take anything."""
    sent, more = stream(20, seed=2, topic=topic), stream(20, seed=5, topic=topic)
    impatient = {"PROJECTOR_MAX_POLL_INTERVAL": 2, "PROJECTOR_LANES": 1, "PROJECTOR_LOG_LEVEL": "info"}
    async with fleet(kafka_bootstrap, database_url, topic, **impatient) as workers:
        worker = workers.start(PROJECTOR_FAILPOINTS="mid_tx=sleep(5)")
        await workers.shared_by(worker)
        await workers.caught_up(await publish(kafka_bootstrap, topic, sent))
        await workers.caught_up(await publish(kafka_bootstrap, topic, more))  # one put out of its group is back by now
        assert await differences(workers.connection, Stream([*sent.deliveries, *more.deliveries]).settled()) == []
        assert worker.said().count("partitions_taken") == 1
        assert await workers.stop() == [0]


async def test_members_whose_supervisor_is_killed_end_too(kafka_bootstrap: str, database_url: str, topic: str) -> None:
    async with fleet(kafka_bootstrap, database_url, topic) as workers:
        supervisor = workers.start("--processes", "2")

        async def members() -> list[int]:
            pids = sorted({int(owner.rpartition("-")[2]) for owner in (await workers.owners()).values()})
            assert len(pids) == 2
            return pids

        pids = await eventually(members, timeout=30)
        supervisor.signal(signal.SIGKILL)
        await supervisor.ended()
        try:
            await eventually(lambda: not any(_runs(pid) for pid in pids), timeout=15)
        finally:
            for pid in filter(_runs, pids):
                os.kill(pid, signal.SIGKILL)
        assert "supervisor_gone" in supervisor.said()


async def test_members_that_are_told_to_stop_by_two_finish_what_they_have_in_hand(
    kafka_bootstrap: str, database_url: str, topic: str
) -> None:
    """systemd's default is to send SIGTERM to every process of a unit: to the members, and to who asks them to stop."""
    async with fleet(kafka_bootstrap, database_url, topic) as workers:
        supervisor = workers.start("--processes", "2", PROJECTOR_FAILPOINTS="mid_tx=sleep(2)")
        await publish(kafka_bootstrap, topic, stream(20, seed=6, topic=topic))

        async def members() -> list[int]:
            pids = sorted({int(owner.rpartition("-")[2]) for owner in (await workers.owners()).values()})
            assert len(pids) == 2
            return pids

        pids = await eventually(members, timeout=30)
        for pid in (*pids, supervisor.pid):
            os.kill(pid, signal.SIGTERM)
        assert await supervisor.ended() == 0
        assert supervisor.said().count("worker_stopped") == 2
        assert "supervisor_gone" not in supervisor.said()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


async def test_a_static_member_comes_back_to_its_partitions_without_a_rebalance(
    kafka_bootstrap: str, database_url: str, topic: str
) -> None:
    async with fleet(kafka_bootstrap, database_url, topic, PROJECTOR_SESSION_TIMEOUT=30) as workers:
        first = workers.start(PROJECTOR_GROUP_INSTANCE_ID="a")
        second = workers.start(PROJECTOR_GROUP_INSTANCE_ID="b")
        await workers.shared_by(first, second)
        taken = second.said().count("partitions_taken")
        held = await workers.owners()
        first.signal(signal.SIGTERM)
        assert await first.ended() == 0
        again = workers.start(PROJECTOR_GROUP_INSTANCE_ID="a")
        await workers.shared_by(again, second)
        assert second.said().count("partitions_taken") == taken
        mine = {place for place, owner in held.items() if owner.endswith(f"-{first.pid}")}
        now = await workers.owners()
        assert {place for place, owner in now.items() if owner.endswith(f"-{again.pid}")} == mine
        sent = stream(20, seed=3, topic=topic)
        await workers.caught_up(await publish(kafka_bootstrap, topic, sent))
        assert await differences(workers.connection, sent.settled()) == []


async def test_metrics_tell_of_partitions_lag_and_rebalances(
    kafka_bootstrap: str, database_url: str, topic: str
) -> None:
    port = free_port()
    async with fleet(kafka_bootstrap, database_url, topic, PROJECTOR_METRICS_PORT=port) as workers:
        await workers.shared_by(workers.start())
        await workers.caught_up(await publish(kafka_bootstrap, topic, stream(10, seed=4, topic=topic)))

        async def told() -> bool:
            text = await asyncio.to_thread(_metrics, port)
            assert "projector_partitions 12.0" in text
            assert "projector_rebalances_total 1.0" in text
            assert text.count("projector_lag_records{") == 12
            return f'projector_lag_records{{partition="0",topic={json.dumps(topic)}}} 0.0' in text

        await eventually(told, timeout=20)


def _metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
        return text
