"""Between Kafka's client and the lanes: what was fetched and is still to be applied, partition by partition.

aiokafka asks a broker for nothing while records of one of its partitions lie there untaken (for up to 100 ms), so a
lane at work would hold up the partitions of all others. A feed takes everything as it comes and hands out batches: a
partition is in one lane's hand at a time, and in the order of its log.

Few records go to one lane in one piece, however many lanes there are: three small transactions cost nearly three times
as much as one, and a record that waits for the one under way is applied sooner than one that competes with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter

from aiokafka import ConsumerRecord

from consumer.checkpoints import Place
from consumer.membership import Membership

_POLL = 0.5  # seconds that anything waits before it looks whether to stop
_PIECE = 500  # records taken from Kafka's client at once: parsing them keeps the event loop busy for some 3 ms
# A second lane begins once a lane's share of a batch waits, or something has waited for a quarter of the time that the
# last batch took, within these bounds (seconds): behind a backlog transactions grow large, else nothing waits for long.
_PATIENCE = (0.02, 0.25)
_BYTES = 4 * 1024 * 1024  # of values that wait for one partition; then no more is taken

_size = attrgetter("serialized_value_size")  # -1 of a null value


@dataclass
class Batch:
    """Records of some partitions, of one epoch of the membership; nothing: there were none to be had."""

    epoch: int
    records: list[ConsumerRecord]
    places: frozenset[Place]


@dataclass
class _Queue:
    """What waits for one partition, since when its first record does, and how many bytes that is."""

    records: list[ConsumerRecord] = field(default_factory=list)
    since: float = 0.0
    size: int = 0


class Feed:
    """One for a consumer session. `fill` runs beside the lanes, which `take`."""

    def __init__(self, membership: Membership, lanes: int, batch_size: int) -> None:
        self._membership = membership
        self._lanes, self._batch_size = lanes, batch_size
        self._piece = min(batch_size, _PIECE)
        self._many = -(-batch_size // lanes)
        self._patience = min(_PATIENCE)
        self._epoch = -1
        self._queues: dict[Place, _Queue] = {}
        self._in_hand: set[Place] = set()
        self._news: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def fill(self, stop: asyncio.Event) -> None:
        """Raises what the membership's fetch does."""
        while not stop.is_set():
            # Or partitions that another epoch has filled would never be asked for again.
            self._turn_to(self._membership.epoch)
            full = self._full()
            if full and len(full) == len(self._membership.holds):
                await self._wait(_POLL)
                continue
            epoch, fetched = await self._membership.fetch(full, self._piece, _POLL)
            self._turn_to(epoch)
            now = time.monotonic()
            for place, records in fetched.items():
                self._add(place, records, now)
            if fetched:
                self._tell()
                await asyncio.sleep(0)  # a client that always has more would never let others have their turn

    async def take(self) -> Batch:
        """The next batch for a lane, or nothing after a while."""
        until = time.monotonic() + _POLL
        while True:
            now = time.monotonic()
            ready, soon = self._ready(now)
            if ready or now >= until:
                return self._cut(ready)
            await self._wait(min(until, soon) - now)

    @contextmanager
    def in_hand(self, batch: Batch) -> Iterator[None]:
        """While a lane works on it, no other gets records of the same partitions."""
        began = time.monotonic()
        try:
            yield
        finally:
            if batch.records:
                least, most = _PATIENCE
                self._patience = min(max((time.monotonic() - began) / 4, least), most)
            if batch.epoch == self._epoch:
                self._in_hand -= batch.places
            self._tell()

    def _turn_to(self, epoch: int) -> None:
        """Whatever was fetched in another epoch is nobody's business any more."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._queues.clear()
            self._in_hand = set()

    def _full(self) -> set[Place]:
        """Partitions of which enough waits: as much as all lanes could take, shared out."""
        held = len(self._membership.holds)
        most = max(self._lanes * self._batch_size // max(held, 1), self._piece)
        return {place for place, queue in self._queues.items() if len(queue.records) >= most or queue.size >= _BYTES}

    def _add(self, place: Place, records: Sequence[ConsumerRecord], now: float) -> None:
        queue = self._queues.setdefault(place, _Queue(since=now))
        queue.records += records
        queue.size += sum(map(_size, records))

    def _ready(self, now: float) -> tuple[list[Place], float]:
        """The partitions for a lane that has nothing to do, the longest waiting first; and when to ask again."""
        membership = self._membership
        if self._epoch != membership.epoch or not membership.assigned:
            return [], now + _POLL
        ready = sorted((place for place in self._queues if place not in self._in_hand), key=self._since)
        if not ready:
            return [], now + _POLL
        if sum(len(self._queues[place].records) for place in ready) >= self._many:
            return ready[: -(-len(membership.holds) // self._lanes)], now
        patient = self._since(ready[0]) + self._patience
        return ([], patient) if self._in_hand and now < patient else (ready, now)

    def _since(self, place: Place) -> float:
        return self._queues[place].since

    def _cut(self, ready: Sequence[Place]) -> Batch:
        """As much of these partitions as a transaction may have."""
        batch: list[ConsumerRecord] = []
        taken = []
        for place in ready:
            room = self._batch_size - len(batch)
            if not room:
                break
            queue = self._queues.pop(place)
            batch += queue.records[:room]
            taken.append(place)
            if rest := queue.records[room:]:
                self._add(place, rest, time.monotonic())  # behind the others now, or they would never have a turn
        places = frozenset(taken)
        self._in_hand |= places
        return Batch(self._epoch, batch, places)

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.get_running_loop().create_future()
        news.set_result(None)

    async def _wait(self, seconds: float) -> None:
        """For something new, or so long."""
        await asyncio.wait({self._news}, timeout=max(seconds, 0))
