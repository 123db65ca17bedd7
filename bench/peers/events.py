"""The stream in the encoding that a peer reads, with each order's status in it, in a topic of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from aiokafka.partitioner import murmur2

from bench.peers.frame import Encoding
from bench.stage import PARTITIONS, Stage
from bench.stream import Load
from consumer import reference
from producer.publish import publish
from producer.simulation import Delivery, simulate
from runtime.kafka import ensure_topics

UNPLACED = "unplaced"  # the status of an order of which something happened before it was placed


@dataclass(frozen=True)
class PeerLoad:
    """A peer's topic, how many events are in it, and of each partition the order and version of its last event."""

    topic: str
    events: int
    last: dict[str, int] = field(default_factory=dict)


class Topics:
    """The topics of one load, one per encoding, made when they are first asked for."""

    def __init__(self, on: Stage, load: Load) -> None:
        self._on = on
        self._load = load
        self._made: dict[str, PeerLoad] = {}

    async def of(self, encoding: Encoding) -> PeerLoad:
        """The topic in this encoding, filled."""
        if encoding.name not in self._made:
            self._made[encoding.name] = await self._put(encoding)
        return self._made[encoding.name]

    async def _put(self, encoding: Encoding) -> PeerLoad:
        topic = f"{self._load.topic}-{encoding.name}"
        settings = self._on.at(self._on.database.url(), topic)
        await ensure_topics(settings, [topic], PARTITIONS)
        last: dict[int, tuple[str, int]] = {}
        sent = await publish(settings, topic, _noted(encoded(self._load, encoding), last))
        return PeerLoad(topic, sent, dict(last.values()))


def encoded(load: Load, encoding: Encoding) -> Iterator[Delivery]:
    """The load's deliveries, in order, as they go into the topic."""
    histories: dict[str, list[dict[str, Any]]] = {}
    for delivery, _ in zip(simulate(load.plan), range(load.events), strict=False):
        event = delivery.meant.event
        assert event is not None, "the benchmark's stream has events alone"
        history = histories.setdefault(event["subject"], [])
        history.append(event)
        yield encoding.encode(delivery, status(history))


def status(history: list[dict[str, Any]]) -> str:
    """An order's status after these events, by the reference model."""
    return str(reference.summary(history)["status"]) if reference.is_placed(history) else UNPLACED


def partition(key: bytes) -> int:
    """Where Kafka's own partitioner, which aiokafka's is, puts a key."""
    return int(murmur2(key) & 0x7FFFFFFF) % PARTITIONS


def _noted(deliveries: Iterator[Delivery], last: dict[int, tuple[str, int]]) -> Iterator[Delivery]:
    for delivery in deliveries:
        event = delivery.meant.event
        assert event is not None
        assert delivery.key is not None
        last[partition(delivery.key)] = event["subject"], event["sequence"]
        yield delivery


def _cloudevents(delivery: Delivery, of: str) -> Delivery:
    return replace(delivery, headers=[*delivery.headers, ("ce_orderstatus", of.encode())])


def _flat(delivery: Delivery, of: str) -> Delivery:
    event = delivery.meant.event
    assert event is not None
    fields = {
        "order_id": event["subject"],
        "version": event["sequence"],
        "status": of,
        "occurred_at": event["time"],
        "event_type": event["type"],
        "event_id": event["id"],
        "data": orjson.Fragment(delivery.value or b"null"),
    }
    return replace(delivery, value=orjson.dumps(fields), headers=[])


CLOUDEVENTS = Encoding("cloudevents", _cloudevents)
"""The very records that `live` reads, and one header more, `ce_orderstatus`."""

FLAT = Encoding("flat", _flat)
"""A JSON object with the columns of `tables.sql`; `occurred_at` is RFC 3339 text, `data` an object. No headers."""
