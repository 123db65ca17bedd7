"""Deliveries into a topic, in order, at a rate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from aiokafka import AIOKafkaProducer

from producer.simulation import Delivery
from runtime.kafka import producer, translated
from runtime.settings import Settings

_IN_FLIGHT = 5_000  # records sent and not yet acknowledged, at most


async def publish(
    settings: Settings,
    topic: str,
    deliveries: Iterable[Delivery],
    *,
    rate: float | None = None,
    told: Callable[[int], None] = lambda sent: None,
) -> int:
    """Send all of them and wait until the broker has them; how many. `rate` is in records per second.

    `told` hears from time to time how many are sent.
    """
    async with producer(settings) as made:
        return await _send(made, topic, deliveries, rate, told)


async def _send(
    made: AIOKafkaProducer,
    topic: str,
    deliveries: Iterable[Delivery],
    rate: float | None,
    told: Callable[[int], None],
) -> int:
    began, sent = time.monotonic(), 0
    pending: list[asyncio.Future[object]] = []
    with translated():
        for delivery in deliveries:
            if rate is not None and (ahead := sent / rate - (time.monotonic() - began)) > 0:
                await asyncio.sleep(ahead)
            pending.append(await made.send(topic, value=delivery.value, key=delivery.key, headers=delivery.headers))
            sent += 1
            if len(pending) >= _IN_FLIGHT:
                await asyncio.gather(*pending)
                pending.clear()
                told(sent)
        await asyncio.gather(*pending)
    told(sent)
    return sent
