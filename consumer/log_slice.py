"""A part of Kafka's log: from where to where, by offset or by time, and its records in batches.

Read by an observer, outside every group: nobody's position moves.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Collection, Mapping
from datetime import datetime

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from runtime.kafka import Ends, log_ends, partitions_of, translated
from schemas.errors import Refused, Unavailable

Bound = int | datetime  # an offset, or the time of a record (Kafka's own, not the event's)

_WAIT = 200  # milliseconds for a fetch
_PATIENCE = 30.0  # seconds without a record, after which Kafka counts as away


async def bounded(
    consumer: AIOKafkaConsumer,
    topics: Collection[str],
    *,
    partitions: Collection[int] = (),
    first: Bound | None = None,
    end: Bound | None = None,
) -> dict[TopicPartition, Ends]:
    """What lies between the bounds (the end excluded), of these partitions or of all; no further than the log reaches
    now. Raises Refused if one of the partitions doesn't exist."""
    found = await partitions_of(consumer, topics)
    if missing := set(partitions) - {one.partition for one in found}:
        raise Refused(f"{', '.join(topics)} has no partition {', '.join(map(str, sorted(missing)))}")
    chosen = [one for one in found if not partitions or one.partition in partitions]
    logs = await log_ends(consumer, chosen)
    starts, ends = await _offsets(consumer, chosen, first), await _offsets(consumer, chosen, end)
    spans = {}
    for one, log in logs.items():
        start = min(max(starts.get(one, log.end) if first is not None else log.first, log.first), log.end)
        stop = min(ends.get(one, log.end), log.end)
        spans[one] = Ends(start, max(start, stop))
    return spans


async def records(
    consumer: AIOKafkaConsumer, spans: Mapping[TopicPartition, Ends], most: int
) -> AsyncGenerator[list[ConsumerRecord], None]:
    """The records of these spans, at most so many at a time; within a partition in order. Raises Unavailable."""
    left = {one: span.end for one, span in spans.items() if span.first < span.end}
    consumer.assign(list(left))
    for one in left:
        consumer.seek(one, spans[one].first)
    heard, stood = time.monotonic(), dict.fromkeys(left, -1)
    while left:
        with translated():
            fetched = await consumer.getmany(*left, timeout_ms=_WAIT, max_records=most)
            stands = {one: await consumer.position(one) for one in left}
        done = [one for one, end in left.items() if stands[one] >= end]
        if batch := [record for one, found in fetched.items() for record in found if record.offset < left[one]]:
            yield batch
            heard = time.monotonic()  # what the caller has taken is no silence of Kafka's
        elif stands != stood:  # past a stretch of what was aborted, say
            heard, stood = time.monotonic(), stands
        elif not done and time.monotonic() - heard > _PATIENCE:
            raise Unavailable(f"Kafka: no record of {', '.join(f'{one.topic}/{one.partition}' for one in left)}")
        consumer.pause(*done)
        for one in done:
            del left[one]


async def _offsets(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], bound: Bound | None
) -> dict[TopicPartition, int]:
    """Where a bound lies in each partition; nowhere if all records are older than that time."""
    if bound is None:
        return {}
    if isinstance(bound, int):
        return dict.fromkeys(partitions, bound)
    milliseconds = int(bound.timestamp() * 1000)
    with translated():
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, milliseconds))
    return {one: at.offset for one, at in found.items() if at is not None}
