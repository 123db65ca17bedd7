"""Rows of the outbox into a topic, each partition's in order, and none after one that was refused.

aiokafka's own `send` queues records and goes on with a partition's next batch when one was refused: what comes after
a record could be in the topic, and the record not. So batches are made here, and a partition's next one is sent when
the one before is acknowledged. Partitions go side by side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner

from producer import outbox
from producer.outbox import OutboxRow

_partition_of = DefaultPartitioner()


async def send(producer: AIOKafkaProducer, topic: str, rows: Sequence[OutboxRow], seconds: float) -> None:
    """Send rows and wait until every one is acknowledged. Raises what the client does, TimeoutError among it; then some
    are in the topic, of each partition the first ones."""
    async with asyncio.timeout(seconds):
        partitions = sorted(await producer.partitions_for(topic))
        queues: dict[int, list[OutboxRow]] = {}
        for row in rows:
            key = row.aggregateid.encode()
            queues.setdefault(_partition_of(key, partitions, partitions), []).append(row)
        under_way = [
            asyncio.ensure_future(_one_by_one(producer, topic, partition, queue)) for partition, queue in queues.items()
        ]
        try:
            await asyncio.gather(*under_way)
        finally:
            for one in under_way:
                one.cancel()


async def _one_by_one(producer: AIOKafkaProducer, topic: str, partition: int, rows: list[OutboxRow]) -> None:
    """A partition's rows, batch after batch."""
    sent = 0
    while sent < len(rows):
        batch = producer.create_batch()
        for row in rows[sent:]:
            key, value = row.aggregateid.encode(), row.payload.encode()
            if batch.append(key=key, value=value, timestamp=None, headers=outbox.headers(row)) is None:
                break
            sent += 1
        batch.close()
        await (await producer.send_batch(batch, topic, partition=partition))
