"""One member's partitions: who it is for Kafka, what it holds in PostgreSQL, and when it may work.

Positions come from `projector.checkpoints` and nowhere else. A rebalance opens a new epoch: what was fetched under
the old one is thrown away, since aiokafka hands out records before the assignment callback has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from consumer import checkpoints, install
from consumer.checkpoints import Move, Place
from consumer.observation import Observation
from consumer.processor import Holds
from consumer.read_models import READ_MODELS, ReadModel
from runtime import postgres
from runtime.failpoints import Failpoints
from runtime.kafka import translated
from schemas.connection import Pool
from schemas.errors import OutOfPlace, Refused, Unavailable

_log = structlog.get_logger("projector.membership")

Fetched = dict[Place, list[ConsumerRecord]]

_ACQUIRE = 10.0  # seconds to wait for a connection
_ANSWER = 2.0  # seconds for Kafka to say where logs begin
_SELDOM = 50  # polls, at the busiest, between two looks for partitions of which the client has read past something


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no type information
    """The partitions of one consumer session. `failed` holds what went wrong in a rebalance, if anything did."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        pool: Pool,
        owner: str,
        observation: Observation | None = None,
        failpoints: Failpoints | None = None,
        *,
        drain: float = 5.0,
        models: Sequence[ReadModel] = READ_MODELS,
    ) -> None:
        """`drain` is how many seconds a rebalance waits for the batches in hand."""
        self.epoch = 0
        self.holds: Holds = {}
        self.failed: Exception | None = None
        self._consumer = consumer
        self._pool, self._owner = pool, owner
        self._observation = observation or Observation()
        self._failpoints = failpoints or Failpoints()
        self._drain = drain
        self._polls = self._working = 0
        self._models = models
        self._open, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._ahead: dict[Place, int] = {}  # behind the last record handed out, where that is beyond the checkpoint
        self._gaps: dict[TopicPartition, int] = {}  # where records began the last time that some were missing
        self._past: dict[TopicPartition, int] = {}  # where the client stood the last time that it had no record to give

    @property
    def assigned(self) -> bool:
        """Whether an assignment stands (be it of no partitions), and no rebalance is under way."""
        return self._open.is_set() and self.failed is None

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Close the gate, and give the batches in hand time to commit: what doesn't make it, the next owner's epoch
        keeps out, and it does it again."""
        self._open.clear()
        await self._failpoints.reach("on_revoked")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), self._drain)
        self.epoch += 1
        self.holds = {}

    @contextmanager
    def working(self) -> Iterator[None]:
        """A batch is in hand."""
        self._working += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._working -= 1
            if not self._working:
                self._idle.set()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Take the partitions in PostgreSQL, go to where their checkpoints stand, open the gate."""
        try:
            await self._failpoints.reach("on_assigned")
            await self._take(list(assigned))
        except Exception as error:  # the boundary to aiokafka, which would log it and go on
            self.failed = error
        finally:
            self.epoch += 1
            self._open.set()
            self._observation.rebalance(len(self.holds))

    async def _take(self, assigned: list[TopicPartition]) -> None:
        for seen in (self._ahead, self._gaps, self._past):
            seen.clear()
        if not assigned:
            self.holds = {}
            return
        first = await self._first_offsets(assigned)
        places = [Place(*one) for one in assigned]
        async with postgres.leased(self._pool, _ACQUIRE) as connection:
            known = await checkpoints.known(connection, {one.topic for one in assigned})
            if lost := [place for place in places if place not in known and place not in first]:
                raise Unavailable(f"Kafka: no leader tells where the log of {_named(lost)} begins")
            starts = {place: first.get(place, 0) for place in places}
            self.holds = await install.take(connection, starts, self._owner, self._models)
        for place, hold in self.holds.items():
            if hold.next_offset < first.get(place, 0):
                raise Refused(
                    f"{place.topic}/{place.partition}: the checkpoint stands at {hold.next_offset}, but Kafka's log "
                    f"begins at {first[place]}: retention took events before they were applied. Nothing was skipped"
                )
            self._consumer.seek(TopicPartition(*place), hold.next_offset)
        _log.info("partitions_taken", partitions=[place.partition for place in self.holds], owner=self._owner)

    async def _first_offsets(self, assigned: list[TopicPartition]) -> dict[Place, int]:
        """Where the logs begin, of those partitions whose leader says so soon: one that has none must not keep this
        member from the others. It sends no heartbeat before it has taken them."""
        found = await self._asked(assigned)
        if not found:
            for some in await asyncio.gather(*(self._asked([one]) for one in assigned)):
                found.update(some)
        return {Place(*one): offset for one, offset in found.items()}

    async def _asked(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Nothing if Kafka doesn't answer for all of them."""
        try:
            with translated():
                async with asyncio.timeout(_ANSWER):
                    return dict(await self._consumer.beginning_offsets(partitions))
        except Unavailable:
            return {}

    async def fetch(self, full: Collection[Place], most: int, wait: float) -> tuple[int, Fetched]:
        """(epoch, records by partition): what follows on, in this epoch, from what was handed out before; of all
        partitions held but the `full` ones.

        Waits up to `wait` seconds for records. The caller compares the epoch before it uses them.
        """
        with suppress(TimeoutError):
            await asyncio.wait_for(self._open.wait(), wait)
        if not self._open.is_set():
            return self.epoch, {}
        if self.failed is not None:
            raise self.failed
        epoch = self.epoch
        # One that holds nothing polls too: a member that doesn't is put out of the group for good.
        mine = [TopicPartition(*place) for place in sorted(self.holds) if place not in full]
        fetched = await self._poll(mine, most, wait) if mine or not self.holds else {}
        if epoch != self.epoch:
            self._observation.discarded()
            self._go_back(fetched)
            return epoch, {}
        following = {Place(*one): self._following(one, records) for one, records in fetched.items()}
        found = {place: records for place, records in following.items() if records}
        self._ahead.update((place, records[-1].offset + 1) for place, records in found.items())
        if not fetched or self._polls % _SELDOM == 0:
            await self._pass_over(epoch, await self._read_past([one for one in mine if one not in fetched]))
        return epoch, found

    def _next(self, place: Place) -> int | None:
        """The offset to be handed out next; None of a partition that isn't held."""
        hold = self.holds.get(place)
        return None if hold is None else max(hold.next_offset, self._ahead.get(place, 0))

    async def _poll(self, mine: list[TopicPartition], most: int, wait: float) -> dict[TopicPartition, Any]:
        """Never cancelled and never without a time limit of its own: a cancelled getmany turns aiokafka's poll
        watchdog off for ever."""
        with translated():
            fetched: dict[TopicPartition, Any] = {}
            self._polls += 1
            try:
                fetched = await self._consumer.getmany(*mine, timeout_ms=int(wait * 1000), max_records=most)
            except NoOffsetForPartitionError:
                pass  # asked for before the assignment callback had put the position right
            except OffsetOutOfRangeError as error:
                raise Refused(
                    f"Kafka no longer holds what comes next ({error}): retention has overtaken the checkpoint, or "
                    "the topic was made anew. Nothing was skipped; see docs/operations.md"
                ) from None
            return fetched

    async def keep_polling(self, stop: asyncio.Event, interval: float, hear: float = 1.0) -> None:
        """Poll when nobody has for `interval` seconds. Kafka's client puts a member that doesn't out of its group,
        though all it does is wait for PostgreSQL; then nobody would have its partitions for a rebalance or two.

        While a rebalance lasts nobody polls, so this does, after `hear` seconds: what the rebalance fails with is told
        to who polls and to nobody else, and a member that hasn't polled for long is not taken back.
        """
        quiet, polls = 0.0, self._polls
        while not stop.is_set():
            pause = min(interval, hear)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
            quiet, polls = (quiet + pause if polls == self._polls else 0.0), self._polls
            if stop.is_set():
                return
            if not self.assigned:  # the poll ends with the rebalance; until then the member counts as polling
                await self._listen(stop)
            elif quiet >= interval:
                await self._poll_paused()

    async def _listen(self, stop: asyncio.Event) -> None:
        """A poll, cut off when told to stop: the watchdog that this turns off has nothing more to watch."""
        polling, stopping = asyncio.ensure_future(self._poll([], 1, 0)), asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({polling, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if polling.done():
                self._go_back(polling.result())
        finally:
            polling.cancel()
            stopping.cancel()

    async def _poll_paused(self) -> None:
        """A poll that gives nothing: its partitions are paused meanwhile. A rebalance ends every pause."""
        held = [TopicPartition(*place) for place in self.holds]
        self._consumer.pause(*held)
        try:
            self._go_back(await self._poll([], 1, 0))
        finally:
            self._consumer.resume(*self._consumer.assignment().intersection(held))

    def moved(self, epoch: int, holds: Holds) -> None:
        """The checkpoints have moved on, as far as this epoch still lasts."""
        if epoch == self.epoch:
            self.holds.update(holds)

    async def _read_past(self, silent: Iterable[TopicPartition]) -> dict[Place, int]:
        """Where the client stands beyond the checkpoint, though it gave no record and none is on its way: after a
        transaction's marker, or after records that were taken back. As with any gap, it has to say so twice: that there
        was nothing up to where it stood the first time."""
        found = {}
        for partition in silent:
            place = Place(*partition)
            with translated():
                position = await self._consumer.position(partition)
            hold = self.holds.get(place)
            if hold is not None and self._next(place) == hold.next_offset < position:
                before = self._past.get(partition, 0)
                if hold.next_offset < before <= position:
                    found[place] = before
                else:
                    self._past[partition] = position
                    self._consumer.seek(partition, hold.next_offset)
        return found

    async def _pass_over(self, epoch: int, positions: Mapping[Place, int]) -> None:
        """Move checkpoints over offsets that hold nothing to apply: a lag that nobody could work off otherwise."""
        moves = [Move(place, self.holds[place], position, None) for place, position in sorted(positions.items())]
        if not moves:
            return
        try:
            with self.working():
                async with postgres.leased(self._pool, _ACQUIRE) as connection:
                    await checkpoints.advance(connection, moves)
        except OutOfPlace:
            self._observation.fenced()
            if epoch == self.epoch:
                raise
        self.moved(epoch, {move.place: move.done for move in moves})

    def _go_back(self, partitions: Iterable[TopicPartition]) -> None:
        """Records of these were taken from the client and are thrown away. They may have come after the new epoch's
        own seek; without another they would not come again until the next record does."""
        for partition in partitions:
            expected = self._next(Place(*partition))
            if expected is not None:
                self._consumer.seek(partition, expected)

    def _following(self, partition: TopicPartition, records: list[ConsumerRecord]) -> list[ConsumerRecord]:
        expected = self._next(Place(*partition))
        if expected is None:
            return []
        fresh = [record for record in records if record.offset >= expected]
        if fresh and fresh[0].offset > expected and self._gaps.get(partition) != fresh[0].offset:
            # Records may be missing: fetched under another epoch, or dropped by the client. Look once more; a gap
            # that is still there is the log's own (compaction, a transaction's marker, retention).
            self._gaps[partition] = fresh[0].offset
            self._consumer.seek(partition, expected)
            return []
        return fresh


def _named(places: Iterable[Place]) -> str:
    return ", ".join(f"{topic}/{partition}" for topic, partition in places)
