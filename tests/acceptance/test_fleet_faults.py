"""Workers killed, stopped and frozen in the middle of the work: nothing is lost, nothing is done twice."""

from __future__ import annotations

import os
import signal
import time

import pytest

from consumer import reference
from schemas.connection import Connection
from testkit.deadline import eventually
from tests.support.fleet import Fleet, fleet, stands
from tests.support.streams import Ends, Stream, demo_stream, differences, publish, stream

pytestmark = pytest.mark.apache_kafka

BATCH = {"PROJECTOR_BATCH_SIZE": 100}


async def ends_right(workers: Fleet, ends: Ends, settled: reference.Settled) -> None:
    await workers.caught_up(ends)
    assert await differences(workers.connection, settled) == []


@pytest.mark.parametrize("point", ["before_db_commit", "after_db_commit"])
async def test_a_worker_killed_around_its_commit_changes_nothing(
    kafka_bootstrap: str, database_url: str, topic: str, point: str
) -> None:
    sent = demo_stream(200, topic=topic).shuffled(seed=1)
    async with fleet(kafka_bootstrap, database_url, topic, **BATCH) as workers:
        survivor = workers.start()
        victim = workers.start(PROJECTOR_FAILPOINTS=f"{point}=kill9:3")
        await workers.shared_by(survivor, victim)
        ends = await publish(kafka_bootstrap, topic, sent)
        assert await victim.ended() == -signal.SIGKILL
        assert await stands(workers.connection, ends) != ends  # in the middle
        workers.start()
        await ends_right(workers, ends, sent.settled())
        assert await workers.stop() == [0, -signal.SIGKILL, 0]


async def test_all_workers_killed_at_once_are_replaced_by_others(
    kafka_bootstrap: str, database_url: str, topic: str
) -> None:
    sent = demo_stream(200, topic=topic).shuffled(seed=2)
    async with fleet(kafka_bootstrap, database_url, topic, **BATCH) as workers:
        victims = [workers.start(), workers.start()]
        await workers.shared_by(*victims)
        ends = await publish(kafka_bootstrap, topic, sent)
        await eventually(lambda: workers.connection.fetchval("SELECT count(*) FROM projector.ledger"), interval=0.01)
        for victim in victims:
            victim.signal(signal.SIGKILL)
        for victim in victims:
            assert await victim.ended() == -signal.SIGKILL
        workers.start()
        workers.start()
        await ends_right(workers, ends, sent.settled())


async def test_sigterm_under_load_ends_in_time_and_leaves_the_group(
    kafka_bootstrap: str, database_url: str, topic: str
) -> None:
    sent = stream(2000, seed=3, topic=topic)
    # If it didn't leave, its partitions would be nobody's for a session's length.
    async with fleet(kafka_bootstrap, database_url, topic, PROJECTOR_SESSION_TIMEOUT=60, **BATCH) as workers:
        first, second = workers.start(), workers.start()
        await workers.shared_by(first, second)
        ends = await publish(kafka_bootstrap, topic, sent)
        first.signal(signal.SIGTERM)
        began = time.monotonic()
        assert await first.ended() == 0
        assert time.monotonic() - began < 10
        assert await stands(workers.connection, ends) != ends  # it was under load
        await workers.shared_by(second, timeout=20)
        await ends_right(workers, ends, sent.settled())
        assert await workers.stop() == [0, 0]


async def _waits_for_a_lock(connection: Connection) -> bool:
    found: int = await connection.fetchval(
        """SELECT count(*) FROM pg_stat_activity
           WHERE datname = current_database() AND application_name = 'projector-worker' AND wait_event_type = 'Lock'"""
    )
    return found > 0


@pytest.mark.parametrize("state", ["cold", "warm"])
async def test_a_zombie_that_wakes_up_in_its_transaction_commits_nothing(
    kafka_bootstrap: str, database_url: str, topic: str, state: str
) -> None:
    """Cold: it stops while PostgreSQL prepares its first insert. Warm: while PostgreSQL carries one out."""
    before, sent = stream(20, seed=6, topic=topic), demo_stream(100, topic=topic).shuffled(seed=4)
    whole = Stream([*before.deliveries, *sent.deliveries]) if state == "warm" else sent
    timeouts = {"PROJECTOR_STATEMENT_TIMEOUT": 3, "PROJECTOR_LANES": 1}
    async with fleet(kafka_bootstrap, database_url, topic, **timeouts) as workers:
        zombie = workers.start()
        await workers.shared_by(zombie)
        if state == "warm":
            await workers.caught_up(await publish(kafka_bootstrap, topic, before))
        async with workers.connection.transaction():
            await workers.connection.execute("LOCK TABLE projector.ledger IN SHARE MODE")
            ends = await publish(kafka_bootstrap, topic, sent)
            await eventually(lambda: _waits_for_a_lock(workers.connection), interval=0.01)
            zombie.signal(signal.SIGSTOP)
        other = workers.start()
        await workers.shared_by(other)  # Kafka and PostgreSQL have given the zombie up
        await ends_right(workers, ends, whole.settled())
        zombie.signal(signal.SIGCONT)
        await workers.shared_by(other, zombie)  # it comes back as an ordinary member
        assert "session_ended" in zombie.said() or "batch_discarded" in zombie.said()
        await ends_right(workers, ends, whole.settled())
        assert await workers.stop() == [0, 0]


async def test_sigterm_is_obeyed_in_time_by_a_worker_whose_batch_is_stuck(
    kafka_bootstrap: str, database_url: str, topic: str
) -> None:
    sent = demo_stream(100, topic=topic).shuffled(seed=7)
    async with fleet(kafka_bootstrap, database_url, topic) as workers:
        stuck = workers.start()
        await workers.shared_by(stuck)
        async with workers.connection.transaction():
            await workers.connection.execute("LOCK TABLE projector.ledger IN SHARE MODE")
            ends = await publish(kafka_bootstrap, topic, sent)
            await eventually(lambda: _waits_for_a_lock(workers.connection))
            stuck.signal(signal.SIGTERM)
            began = time.monotonic()
            assert await stuck.ended() == 0
            assert time.monotonic() - began < 10
        workers.start()
        await ends_right(workers, ends, sent.settled())


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
        await ends_right(workers, ends, sent.settled())
        supervisor.signal(signal.SIGTERM)
        began = time.monotonic()
        assert await supervisor.ended() == 0
        assert time.monotonic() - began < 10
        for member in (second, third):
            with pytest.raises(ProcessLookupError):
                os.kill(member, 0)
