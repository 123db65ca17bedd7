"""Sends the load of *latency* at its rate, in a process of its own, and notes when: `python -m bench.sender`.

Between the shop's events it sends probes: twelve orders that are placed and then change their address again and
again, so that a reader can watch their versions. Times are CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import orjson
import uvloop
from aiokafka import AIOKafkaProducer

from bench.ids import Kind, named
from bench.stream import plan
from producer.simulation import Delivery, simulate
from runtime.kafka_tasks import stopped
from runtime.settings import load

PROBES = tuple(f"probe-{number:02d}" for number in range(12))
PROBE_EVERY = 20  # events: at 1,000 a second, 20 ms
_PLACED = (
    b'{"customer":{"id":"c-probe","name":"Probe"},"currency":"EUR","lines":[{"sku":"p","quantity":1,"unit_price":"1"}]}'
)
_MOVED = b'{"shipping_address":{"street":"Kerkstraat 1","city":"Amsterdam"}}'


@dataclass
class Sent:
    """Of every event, in the order sent: where it is in Kafka, when it was sent, when the broker had it, the probe."""

    partitions: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sent_ns: list[int] = field(default_factory=list)
    acknowledged_ns: list[int] = field(default_factory=list)
    due_ns: list[int] = field(default_factory=list)


def mixed(orders: int, window: int, count: int, ids: Kind | None = None) -> list[Delivery]:
    """`count` deliveries, of which every twentieth is a probe; all with their own ids, or with some of that kind."""
    shop = simulate(plan(orders, window))
    probes = _probes()
    both = (next(probes) if place % PROBE_EVERY == 0 else next(shop) for place in range(count))
    return list(named(both, ids) if ids else both)


def probe_of(place: int) -> tuple[int, int] | None:
    """(which probe, its version) of the event sent in this place; None: it is the shop's."""
    number, rest = divmod(place, PROBE_EVERY)
    return None if rest else (number % len(PROBES), number // len(PROBES) + 1)


async def send(topic: str, deliveries: list[Delivery], rate: float) -> Sent:
    """Each when it is due, without waiting for the one before to arrive."""
    settings = load()
    sent = Sent(*([0] * len(deliveries) for _ in range(5)))
    # No linger: the projector's latency is measured, not the producer's thrift.
    producer = AIOKafkaProducer(**settings.kafka_connection(), enable_idempotence=True, acks="all", linger_ms=0)
    await producer.start()
    try:
        gc.disable()
        pending = []
        began = time.monotonic_ns() + 50_000_000
        for place, delivery in enumerate(deliveries):
            due = began + int(place * 1e9 / rate)
            if (ahead := due - time.monotonic_ns()) > 0:
                await asyncio.sleep(ahead / 1e9)
            sent.due_ns[place], sent.sent_ns[place] = due, time.monotonic_ns()
            future = await producer.send(topic, value=delivery.value, key=delivery.key, headers=delivery.headers)
            future.add_done_callback(lambda done, place=place: _acknowledged(sent, place, done))
            pending.append(future)
        await asyncio.gather(*pending)
    finally:
        await stopped(producer)
    return sent


def _acknowledged(sent: Sent, place: int, done: asyncio.Future[object]) -> None:
    sent.acknowledged_ns[place] = time.monotonic_ns()
    if not done.cancelled() and done.exception() is None:
        metadata = done.result()
        sent.partitions[place] = metadata.partition  # type: ignore[attr-defined]  # aiokafka is untyped
        sent.offsets[place] = metadata.offset  # type: ignore[attr-defined]  # aiokafka is untyped


def _probes() -> Iterator[Delivery]:
    version = 0
    template = next(islice(simulate(plan(1, 1)), 1))
    while True:
        version += 1
        for name in PROBES:
            kind, data = ("order.placed", _PLACED) if version == 1 else ("order.address_changed", _MOVED)
            attributes = {
                "ce_specversion": "1.0",
                "ce_id": f"{name}/{version}",
                "ce_source": "/bench/probe",
                "ce_type": kind,
                "ce_subject": name,
                "ce_time": "2026-01-01T00:00:00Z",
                "ce_sequence": str(version),
            }
            headers = [(header, text.encode()) for header, text in attributes.items()]
            yield Delivery(name.encode(), data, headers, template.meant)


def main(topic: str, orders: str, window: str, count: str, rate: str, file: str, *ids: Kind) -> None:
    """All as text, as it comes from the command line."""
    deliveries = mixed(int(orders), int(window), int(count), *ids)
    sent = uvloop.run(send(topic, deliveries, float(rate)))
    Path(file).write_bytes(orjson.dumps(sent))


if __name__ == "__main__":
    main(*sys.argv[1:])  # type: ignore[arg-type]  # a kind of ids is text too
