"""What waits for too long is told: in metrics at every look, in the log when it is news."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from consumer.observation import Observation
from consumer.parked_alarm import ParkedAlarm
from schemas.connection import Connection
from tests.support.engine import attributes, engine, placed

HOUR = 3600.0


def metric(observation: Observation, name: str) -> float:
    found = observation.registry.get_sample_value(f"projector_{name}")
    assert found is not None
    return found


async def looked(alarm: ParkedAlarm, connection: Connection, now: float) -> list[int]:
    """How many events each line of the log tells of, at a look at this moment."""
    with capture_logs() as lines:
        await alarm.look(connection, now)
    assert {line["event"] for line in lines} <= {"parked_too_long"}
    return [line["events"] for line in lines]


async def test_events_are_told_of_once_they_are_older_than_the_limit(database_url: str) -> None:
    observation = Observation()
    alarm = ParkedAlarm(observation, HOUR)
    async with engine(database_url) as one, one.pool.acquire() as connection:
        assert await looked(alarm, connection, 0) == []
        assert metric(observation, "parked_oldest_seconds") == 0
        one.send(placed("a"), *(attributes("a", version, "order.confirmed") for version in (3, 4)))
        await one.run()
        assert await looked(alarm, connection, 1) == []
        assert metric(observation, "parked_over_limit_events") == 0
        await _grow_older(connection, "a", 3)
        assert await looked(alarm, connection, 2) == [1]
        assert metric(observation, "parked_over_limit_events") == 1
        assert metric(observation, "parked_oldest_seconds") == pytest.approx(2 * HOUR, abs=60)


async def test_the_same_is_said_again_after_a_while_and_news_at_once(database_url: str) -> None:
    alarm = ParkedAlarm(Observation(), HOUR)
    async with engine(database_url) as one, one.pool.acquire() as connection:
        one.send(placed("a"), *(attributes("a", version, "order.confirmed") for version in (3, 4)))
        await one.run()
        await _grow_older(connection, "a", 3)
        told = [await looked(alarm, connection, now) for now in (0, 5, 599, 600, 605)]
        assert told == [[1], [], [], [1], []]
        await _grow_older(connection, "a", 4)
        assert await looked(alarm, connection, 610) == [2]
        await connection.execute("DELETE FROM projector.parked_events")
        assert await looked(alarm, connection, 615) == []


async def _grow_older(connection: Any, order: str, version: int) -> None:
    await connection.execute(
        """UPDATE projector.parked_events SET parked_at = parked_at - interval '2 hours'
           WHERE order_id = $1 AND version = $2""",
        order,
        version,
    )
