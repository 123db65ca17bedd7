"""What is put through: a seeded stream of orders, in Kafka before anything is timed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from bench.ids import Kind, named
from bench.stage import PARTITIONS, Stage
from consumer import reference
from producer.publish import publish
from producer.simulation import Delivery, SimulationPlan, simulate
from runtime.kafka import ensure_topics

SEED = 42


@dataclass(frozen=True)
class Load:
    """A topic and what is in it: the first `events` of the plan's stream, with its own ids or those of a kind."""

    topic: str
    plan: SimulationPlan
    events: int
    ids: Kind | None = None

    def settled(self) -> reference.Settled:
        """What it has to leave behind, worked out by the reference model; made anew, not kept in memory."""
        meant = (delivery.meant.event for delivery in stream(self.plan, self.events, self.ids))
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


async def put(
    on: Stage,
    topic: str,
    of: SimulationPlan,
    most: int | None = None,
    partitions: int = PARTITIONS,
    ids: Kind | None = None,
) -> Load:
    """Produce the stream, or the first `most` events of it, into a new topic of so many partitions."""
    settings = on.at(on.database.url(), topic)
    await ensure_topics(settings, [topic], partitions)
    return Load(topic, of, await publish(settings, topic, stream(of, most, ids)), ids)


def stream(of: SimulationPlan, most: int | None = None, ids: Kind | None = None) -> Iterator[Delivery]:
    """The plan's, or the first `most` of it."""
    first = islice(simulate(of), most)
    return named(first, ids) if ids else first
