"""A simulated shop's stream with what it means: in any order, and into a topic."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from aiokafka import AIOKafkaProducer

from consumer import proof, reference
from consumer.checkpoints import Place
from producer.simulation import Delivery, Meaning, SimulationPlan, simulate
from schemas.connection import Connection

Meant = reference.Event | reference.Broken | reference.Tombstone
Ends = dict[Place, int]  # where each partition's log ends: the checkpoint of a worker that has caught up

LARGEST = 4 * 1024 * 1024  # bytes of a record that a test may send: more than the contract's limit, on purpose


@dataclass(frozen=True)
class Stream:
    """Deliveries in an order of arrival, each with what its producer meant."""

    deliveries: Sequence[Delivery]

    @property
    def meant(self) -> list[Meant]:
        return [_meaning(delivery) for delivery in self.deliveries]

    def settled(self) -> reference.Settled:
        """Where every delivery has to end, as the reference model says."""
        return reference.settle(self.meant)

    def shuffled(self, seed: int) -> Stream:
        """The same deliveries in another order, none near its old place."""
        deliveries = list(self.deliveries)
        Random(seed).shuffle(deliveries)
        return Stream(deliveries)

    def halves(self) -> tuple[Stream, Stream]:
        """The first half, and the rest."""
        middle = len(self.deliveries) // 2
        return Stream(self.deliveries[:middle]), Stream(self.deliveries[middle:])


def stream(orders: int, seed: int, *, topic: str, **plan: Any) -> Stream:
    """A stream for this topic (which some encodings name as their source), with the plan's copies and late events,
    but nothing broken unless asked."""
    asked = {"poison": 0, "tombstones": 0, "topic": topic, **plan}
    return Stream(list(simulate(SimulationPlan(orders=orders, seed=seed, **asked))))


def plain_stream(orders: int, seed: int, *, topic: str) -> Stream:
    """Each event once and in its turn, each order in a partition: as many records as are applied."""
    return stream(orders, seed, topic=topic, duplicates=0, shuffle=0, encodings=("binary",))


def demo_stream(orders: int, seed: int = 42, *, topic: str) -> Stream:
    """What `projector demo` sends: copies, late events, broken records, an erasure, all three encodings."""
    return stream(orders, seed, duplicates=0.10, shuffle=0.05, poison=100, tombstones=1, topic=topic)


def deliveries_of(events: Iterable[Any]) -> list[Delivery]:
    """Records such as `tests.support.events.record` makes, to be sent as they are."""
    return [Delivery(one.key, one.value, list(one.headers), Meaning("broken")) for one in events]


async def publish(
    bootstrap: str,
    topic: str,
    what: Stream | Sequence[Delivery],
    *,
    partition: int | None = None,
    compression: str | None = None,
) -> Ends:
    """Send all of it and wait until the broker has it; where the logs end then, by what the broker acknowledged."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        linger_ms=5,
        max_request_size=LARGEST,
        compression_type=compression,
    )
    deliveries = what.deliveries if isinstance(what, Stream) else what
    async with producer:
        return await send(producer, topic, deliveries, partition=partition)


async def send(
    producer: AIOKafkaProducer, topic: str, deliveries: Iterable[Delivery], *, partition: int | None = None
) -> Ends:
    """The same with a producer that runs."""
    sent = [
        await producer.send(topic, value=one.value, key=one.key, headers=one.headers, partition=partition)
        for one in deliveries
    ]
    ends: Ends = {}
    for acknowledged in await asyncio.gather(*sent):
        place = Place(acknowledged.topic, acknowledged.partition)
        ends[place] = max(ends.get(place, 0), acknowledged.offset + 1)
    return ends


async def differences(connection: Connection, settled: reference.Settled) -> list[str]:
    """Everything in the database that isn't as the reference model says."""
    checks = await proof.prove(connection, settled)
    return [f"{check.name}: {one}" for check in checks for one in check.differences]


def _meaning(delivery: Delivery) -> Meant:
    meant = delivery.meant
    if meant.kind == "event":
        assert meant.event is not None
        return reference.Event(meant.event)
    if meant.kind == "tombstone":
        assert meant.order_id is not None
        return reference.Tombstone(meant.order_id)
    return reference.Broken(meant.order_id)
