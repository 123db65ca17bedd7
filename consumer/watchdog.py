"""Looks after one member: keeps its health true, and ends it when it is stuck.

Stuck is: records wait, Kafka and PostgreSQL answer, and for `PROJECTOR_STUCK_TIMEOUT` seconds no checkpoint of a
partition held has moved, or no assignment has come. aiokafka has stood still like that after broker restarts and
rejoins (its issues 1154, 847, 625). While a dependency is away nothing is stuck: a new process would wait as well.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from consumer import install
from consumer.checkpoints import Place
from consumer.health import Health
from consumer.membership import Membership
from consumer.observation import Observation
from consumer.parked_alarm import ParkedAlarm
from consumer.progress import Progress, Stand
from runtime import postgres
from runtime.kafka import translated
from runtime.settings import Settings
from schemas.connection import Pool
from schemas.errors import Refused, Stuck, Unavailable

_log = structlog.get_logger("projector.watchdog")

_EVERY = 5.0  # seconds between looks, at most
_LOOKS = 10  # that fit into the time after which a member is stuck, at least
_ANSWER = 5.0  # seconds that Kafka or PostgreSQL may take to answer a question of the watchdog's


class Watchdog:
    """One for all sessions of a member; `watch` runs as long as a session does."""

    def __init__(self, settings: Settings, pool: Pool, observation: Observation, health: Health) -> None:
        self._settings = settings
        self._pool = pool
        self._observation = observation
        self._health = health
        self._limit = settings.stuck_timeout
        self._unassigned = 0.0  # seconds without an assignment though Kafka answers, over all sessions
        self._parked = ParkedAlarm(observation, settings.parked_limit)

    async def watch(self, consumer: AIOKafkaConsumer, membership: Membership, stop: asyncio.Event) -> None:
        """Raises Stuck."""
        progress = Progress()
        looked_at = time.monotonic()
        while not stop.is_set():
            kafka, database = await asyncio.gather(self._ends(consumer, membership), self._ask_database())
            now = time.monotonic()
            self._unassigned += now - looked_at
            looked_at = now
            if membership.assigned:
                self._unassigned = 0
                self._health.fine("assigned")
            else:
                self._health.wrong("assigned", "a rebalance is under way")
            if kafka is None or not database or self._was_away(now):
                progress.excuse(now)
                self._unassigned = 0
            else:
                progress.look(now, kafka)
            self._judge(progress, now)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), min(_EVERY, self._limit / _LOOKS))

    def ended(self, why: str) -> None:
        """No session, so no partitions."""
        self._health.wrong("assigned", why)

    def _judge(self, progress: Progress, now: float) -> None:
        if self._unassigned >= self._limit:
            raise Stuck(f"no assignment for {self._unassigned:.0f} s, though Kafka answers")
        slow = progress.stalled(now, self._limit / 2)
        if slow:
            self._health.wrong("moving", f"{len(slow)} partitions stand still")
        else:
            self._health.fine("moving")
        if stalled := progress.stalled(now, self._limit):
            places = ", ".join(f"{place.topic}/{place.partition}" for place in sorted(stalled))
            raise Stuck(f"{places}: records wait and none was applied for {max(stalled.values()):.0f} s")

    def _was_away(self, now: float) -> bool:
        """A batch failed for want of PostgreSQL since the last look or so, and is to be run again."""
        away_at = self._observation.away_at
        return away_at is not None and now - away_at < self._limit / 2

    async def _ends(self, consumer: AIOKafkaConsumer, membership: Membership) -> dict[Place, Stand] | None:
        """How the partitions held stand; None if Kafka doesn't answer."""
        held = dict(membership.holds)
        try:
            with translated():
                async with asyncio.timeout(_ANSWER):
                    if held:
                        ends = await consumer.end_offsets([TopicPartition(*place) for place in held])
                    else:
                        await consumer.topics()
        except Unavailable as error:
            self._health.wrong("kafka", str(error))
            return None
        self._health.fine("kafka")
        stands = {
            place: Stand(hold.next_offset, ends[TopicPartition(*place)])
            for place, hold in membership.holds.items()
            if place in held
        }
        self._observation.lag({place: max(stand.end - stand.next_offset, 0) for place, stand in stands.items()})
        return stands

    async def _ask_database(self) -> bool:
        """Whether PostgreSQL answers and is what this code needs."""
        try:
            with postgres.translated():
                async with asyncio.timeout(_ANSWER), self._pool.acquire() as connection:
                    await install.check(connection)
                    await self._parked.look(connection, time.monotonic())
        except Unavailable as error:
            self._health.wrong("postgresql", str(error))
            return False
        except Refused as error:
            self._health.fine("postgresql")
            self._health.wrong("schema", str(error))
            return False
        self._health.fine("postgresql", "schema")
        return True
