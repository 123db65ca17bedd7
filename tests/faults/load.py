"""A shop at work while something breaks: an endless seeded stream, sent at a pace, and what was sent so far."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer

from consumer.checkpoints import Place
from producer.simulation import Delivery, SimulationPlan, simulate
from tests.support.streams import Ends, Stream

ORDERS = 1_000_000  # more than is ever sent
RECENT = 5_000  # records that can be sent again
_TICK = 0.02  # seconds between two bunches


class Sent(NamedTuple):
    """A delivery, and where the broker put it."""

    offset: int
    place: Place
    delivery: Delivery
    at: float  # when it was due (time.monotonic), though the load may have been late; without a pace, when it was sent


@dataclass(frozen=True)
class Log:
    """All that was sent, as it stands in Kafka. `ends` is where each partition's log ends."""

    sent: list[Sent]
    ends: Ends

    @property
    def stream(self) -> Stream:
        """The deliveries, in Kafka's order within each partition, with what was meant."""
        return Stream([one.delivery for one in sorted(self.sent, key=lambda one: one[:2])])


def shop(seed: int, topic: str, **plan: Any) -> Iterator[Delivery]:
    """A shop in which all goes wrong: of the events a tenth comes twice and a twentieth late; one record in a hundred
    is broken, one order in fifty is erased."""
    usual: dict[str, Any] = {"duplicates": 0.1, "shuffle": 0.05, "poison": 0.01, "window": 40}
    return simulate(SimulationPlan(orders=ORDERS, tombstones=ORDERS // 50, seed=seed, topic=topic, **{**usual, **plan}))


class Load:
    """Sends a stream at a pace until told to stop. `least`: so many events in all, at least."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self.sent: list[Sent] = []
        self._ends: Ends = {}
        self._slim = 0  # how many of the records sent
        self._began = 0.0
        self._producer = producer
        self._topic = topic
        self._stop = asyncio.Event()
        self._pending: set[asyncio.Future[Any]] = set()
        self._running: asyncio.Task[None] | None = None

    @property
    def log(self) -> Log:
        """What the broker has acknowledged."""
        return Log(self.sent, dict(self._ends))

    @property
    def recent(self) -> list[Sent]:
        """The last few thousand records."""
        return self.sent[-RECENT:]

    def start(self, deliveries: Iterator[Delivery], rate: float, least: int) -> None:
        """Begin to send, so many a second."""
        self._began = time.monotonic()
        self._running = asyncio.ensure_future(self._run(deliveries, rate, least))

    async def finish(self) -> float:
        """Stop, once enough is sent; returns when the broker has it all: how many a second that were."""
        self._stop.set()
        if self._running is not None:
            await self._running
        await self.acknowledged()
        return len(self.sent) / (time.monotonic() - self._began)

    async def acknowledged(self) -> None:
        """Returns when the broker has all that was handed over so far."""
        if handed_over := [*self._pending]:
            await asyncio.gather(*handed_over)

    def expect_running(self) -> None:
        """Raises what sending has failed with, if it has."""
        assert self._running is not None
        if self._running.done():
            self._running.result()

    def slim_down(self) -> None:
        """Keep of older events only what they meant: a long run has a million of them."""
        for at in range(self._slim, len(self.sent) - RECENT):
            if (one := self.sent[at]).delivery.meant.kind == "event":
                self.sent[at] = one._replace(delivery=replace(one.delivery, key=None, value=None, headers=[]))
            self._slim = at + 1

    async def cancel(self) -> None:
        """Stop at once, whatever became of it."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def send(self, deliveries: Iterable[Delivery], partition: int | None = None) -> None:
        """Send these now, beside what goes on."""
        await self._send(((time.monotonic(), delivery) for delivery in deliveries), partition)

    async def _send(self, deliveries: Iterable[tuple[float, Delivery]], partition: int | None = None) -> None:
        for at, delivery in deliveries:
            future = await self._producer.send(
                self._topic, value=delivery.value, key=delivery.key, headers=delivery.headers, partition=partition
            )
            self._pending.add(future)
            future.add_done_callback(lambda done, delivery=delivery, at=at: self._acknowledged(done, delivery, at))

    async def _run(self, deliveries: Iterator[Delivery], rate: float, least: int) -> None:
        """An event is as old as it would be if sending took no time: who waits for a late one has waited for longer."""
        due = zip((self._began + nth / rate for nth in count()), deliveries, strict=False)
        handed_over = 0
        while not self._stop.is_set():
            more = int((time.monotonic() - self._began) * rate) - handed_over
            await self._send(islice(due, more))
            handed_over += more
            await asyncio.sleep(_TICK)
        await self.send(islice(deliveries, max(least - handed_over, 0)))

    def _acknowledged(self, done: asyncio.Future[Any], delivery: Delivery, at: float) -> None:
        if not done.cancelled() and done.exception() is None:
            self._pending.discard(done)  # a failed one stays, for `finish` to raise what it failed with
            answer = done.result()
            place = Place(answer.topic, answer.partition)
            self.sent.append(Sent(answer.offset, place, delivery, at))
            self._ends[place] = max(self._ends.get(place, 0), answer.offset + 1)
