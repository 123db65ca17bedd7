"""What is put through: a seeded stream of orders, in Kafka before anything is timed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from bench.stage import PARTITIONS, Stage
from consumer import reference
from producer.publish import publish
from producer.simulation import Delivery, SimulationPlan, simulate
from runtime.kafka import ensure_topics

SEED = 42


@dataclass(frozen=True)
class Load:
    """A topic and what is in it: the first `events` of the plan's stream."""

    topic: str
    plan: SimulationPlan
    events: int

    def settled(self) -> reference.Settled:
        """What it has to leave behind, worked out by the reference model; made anew, not kept in memory."""
        meant = (delivery.meant.event for delivery in islice(simulate(self.plan), self.events))
        return reference.settle([reference.Event(event) for event in meant if event is not None])


def plan(orders: int, window: int, hot: float = 0.0) -> SimulationPlan:
    """Well-behaved events in CloudEvents' binary mode: no copies, no delays, nothing broken, nothing erased.

    `hot` is the share of orders that one customer places, with one product.
    """
    return SimulationPlan(
        orders=orders,
        seed=SEED,
        duplicates=0,
        shuffle=0,
        poison=0,
        tombstones=0,
        encodings=("binary",),
        window=window,
        hot=hot,
    )


async def put(on: Stage, topic: str, of: SimulationPlan, most: int | None = None) -> Load:
    """Produce the stream, or the first `most` events of it, into a topic of 12 partitions."""
    settings = on.at(on.database.url(), topic)
    await ensure_topics(settings, [topic], PARTITIONS)
    return Load(topic, of, await publish(settings, topic, _first(of, most)))


def _first(of: SimulationPlan, most: int | None) -> Iterator[Delivery]:
    return islice(simulate(of), most)
