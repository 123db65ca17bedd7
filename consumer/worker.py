"""One member of the fleet: partitions in, batches applied, lane by lane.

A lane is a loop: take a batch from the feed, decode, apply. While one lane waits for its commit, another decodes: the
process and PostgreSQL work at the same time. A process holds a batch per lane and as much again in its feed, however
large the backlog.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from consumer.checkpoints import Place
from consumer.feed import Batch, Feed
from consumer.health import Health
from consumer.membership import Membership
from consumer.observation import Observation
from consumer.processor import Holds, Processor
from consumer.projection import Outcome, Projection
from consumer.read_models import READ_MODELS, ReadModel
from consumer.watchdog import Watchdog
from runtime.failpoints import Failpoints
from runtime.kafka import group_member, translated
from runtime.kafka_tasks import stopped, watched
from runtime.service import together
from runtime.settings import Settings
from schemas.connection import Pool
from schemas.errors import OutOfPlace, Unavailable
from schemas.wire_batch import decode_all

_log = structlog.get_logger("projector.worker")

_COMMIT_EVERY = 1.0  # seconds between Kafka commits: a courtesy to lag tools, so it may lag itself
_JOIN = 60.0  # seconds to connect and subscribe; a broker that takes connections and says nothing costs aiokafka 40
_POLLS = 4  # in the time after which Kafka's client thinks that a member doesn't poll
_HEAR = 1.0  # seconds after which a rebalance under way is listened to: what it fails with is told to who polls
_COMMIT = 1.0  # seconds that one may take: aiokafka's never ends while the broker is away


class Worker:
    """Consumes until told to stop. `owner` names this member in `projector.checkpoints`."""

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        owner: str,
        observation: Observation,
        models: Sequence[ReadModel] = READ_MODELS,
        health: Health | None = None,
        applied: Callable[[Outcome], None] = lambda outcome: None,
    ) -> None:
        """`applied` is called after each batch that has changed an order."""
        self._settings = settings
        self._applied = applied
        self._pool = pool
        self._owner = owner
        self._models = models
        self._observation = observation
        self._failpoints = Failpoints(settings.failpoints)
        self._watchdog = Watchdog(settings, pool, observation, health or Health())
        self._processor = Processor(pool, Projection(models), self._failpoints, self._retrying)

    async def run(self, stop: asyncio.Event) -> None:
        """Session after session: each begins at the checkpoints.

        Raises Refused if a person has to act, Stuck if a new process is needed.
        """
        if self._failpoints.armed:
            _log.warning("failpoints_armed", points=self._failpoints.armed, owner=self._owner)
        sessions = AsyncRetrying(
            retry=retry_if_exception_type((Unavailable, OutOfPlace)),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            stop=lambda _: stop.is_set(),
            sleep=lambda seconds: _until(stop, seconds),
            reraise=True,
        )
        reason = "start"
        async for attempt in sessions:
            with attempt:
                self._observation.session(reason)
                try:
                    await self._session(stop)
                except (Unavailable, OutOfPlace) as error:
                    reason = type(error).__name__
                    _log.warning("session_ended", reason=str(error), owner=self._owner)
                    if stop.is_set():
                        return
                    raise

    async def _session(self, stop: asyncio.Event) -> None:
        consumer = group_member(self._settings)
        membership = Membership(
            consumer, self._pool, self._owner, self._observation, self._failpoints, models=self._models
        )
        settings = self._settings
        try:
            # Not to be waited for once told to stop: a broker that takes connections and says nothing costs 40 s.
            await together(stop, 0, self._join(consumer, membership))
            if stop.is_set():
                return
            feed = Feed(membership, settings.lanes, settings.batch_size)
            loops = [self._lane(stop, membership, feed) for _ in range(settings.lanes)]
            drained = await together(
                stop,
                settings.stop_timeout,
                feed.fill(stop),
                *loops,
                self._courtesy(consumer, membership, stop),
                membership.keep_polling(stop, settings.max_poll_interval / _POLLS, _HEAR),
                self._watchdog.watch(consumer, membership, stop),
                watched(consumer, stop),
            )
            if drained:  # else there is no time left for courtesies
                await self._tell(consumer, membership, {})
        finally:
            self._watchdog.ended("no consumer session")
            await stopped(consumer)

    async def _join(self, consumer: AIOKafkaConsumer, membership: Membership) -> None:
        """Raises Unavailable unless all topics exist: aiokafka would wait in silence for one that doesn't."""
        with translated():
            async with asyncio.timeout(_JOIN):
                await consumer.start()
            missing = set(self._settings.topics) - await consumer.topics()
            if missing:
                raise Unavailable(f"Kafka: there is no topic {', '.join(sorted(missing))}")
            consumer.subscribe(self._settings.topics, listener=membership)

    async def _lane(self, stop: asyncio.Event, membership: Membership, feed: Feed) -> None:
        while not stop.is_set():
            batch = await feed.take()
            with feed.in_hand(batch):
                await self._failpoints.reach("after_fetch")
                if batch.records and batch.epoch == membership.epoch:
                    await self._batch(membership, batch)

    async def _batch(self, membership: Membership, batch: Batch) -> None:
        began = time.perf_counter()
        items = decode_all(batch.records)
        holds: Holds = {place: membership.holds[place] for place in batch.places}
        try:
            with membership.working():
                outcome, holds = await self._processor.process(items, holds)
        except OutOfPlace:
            self._observation.fenced()
            if batch.epoch == membership.epoch:
                raise
            _log.info("batch_discarded", records=len(items), owner=self._owner)  # its next owner does it
            return
        membership.moved(batch.epoch, holds)
        if outcome.orders or outcome.erased:
            self._applied(outcome)
        self._observation.batch(outcome, len(items), time.perf_counter() - began)

    async def _courtesy(self, consumer: AIOKafkaConsumer, membership: Membership, stop: asyncio.Event) -> None:
        """Tell Kafka how far we are, for its tools. Nothing here reads it back."""
        told: dict[Place, int] = {}
        pause = _COMMIT_EVERY
        while not stop.is_set():
            await _until(stop, pause)
            answered = await self._tell(consumer, membership, told)
            # To Kafka a commit is a sign of life. A member that gets no answers has to fall silent for a session, or it
            # keeps its partitions though it hears nothing of what is in them.
            pause = _COMMIT_EVERY if answered else self._settings.session_timeout + _COMMIT_EVERY

    async def _tell(self, consumer: AIOKafkaConsumer, membership: Membership, told: dict[Place, int]) -> bool:
        """Whether Kafka has answered."""
        news = {
            place: hold.next_offset for place, hold in membership.holds.items() if told.get(place) != hold.next_offset
        }
        if news:
            offsets = {TopicPartition(*place): offset for place, offset in news.items()}
            await self._failpoints.reach("before_kafka_commit")
            try:
                await asyncio.wait_for(consumer.commit(offsets), _COMMIT)
                told.update(news)
            except (KafkaError, TimeoutError) as error:
                _log.info("kafka_commit_failed", reason=type(error).__name__)
                return not isinstance(error, TimeoutError)
        return True

    def _retrying(self, error: BaseException, attempt: int) -> None:
        self._observation.retry(error)
        _log.warning("batch_again", reason=str(error), attempt=attempt, owner=self._owner)


async def _until(stop: asyncio.Event, seconds: float) -> None:
    """So many seconds, or as long as nobody says stop."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
