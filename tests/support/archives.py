"""Archives in tests: made from a topic, read back, and compared with what the log has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition

from consumer import log_slice
from consumer.archive import Archive
from consumer.archive_parquet import Limits, SegmentWriter
from consumer.archive_place import Place
from consumer.archiver import Archiver, Progress
from runtime.kafka import observer
from runtime.settings import Settings
from schemas.events import StoredRecord

PLENTY = Limits(100_000)
Log = dict[TopicPartition, list[StoredRecord]]


async def archived(
    settings: Settings, place: Place | str, limits: Limits = PLENTY, *, partitions: Sequence[int] = (), **more: Any
) -> list[Progress]:
    """What one run of `projector archive` does."""
    where = place if isinstance(place, Place) else Place.at(place)
    async with observer(settings) as consumer:
        spans = await log_slice.bounded(consumer, settings.topics, partitions=partitions)
        archiver = Archiver(consumer, where, limits, **more)
        return [await archiver.copy(one, log) for one, log in sorted(spans.items())]


def held(url: str, topic: str, most: int = 1_000) -> Log:
    """Everything that an archive has of a topic, by partitions that it has something of."""
    archive = Archive(url)
    return {
        one: [record for batch in archive.records(one, span.first, span.end, most) for record in batch]
        for one, span in archive.spans([topic]).items()
    }


def named(url: str) -> list[str]:
    """The names of an archive's files, and of what else lies there."""
    return sorted(path.name for path in Path(url).rglob("*") if path.is_file())


async def in_log(settings: Settings) -> Log:
    """Everything that Kafka has of the topics, by partitions that it has something of."""
    found: Log = {}
    async with observer(settings) as consumer:
        spans = await log_slice.bounded(consumer, settings.topics)
        async for batch in log_slice.records(consumer, spans, 1_000):
            for record in batch:
                found.setdefault(TopicPartition(record.topic, record.partition), []).append(stored(record))
    return found


def stored(record: ConsumerRecord) -> StoredRecord:
    headers = tuple((name, value) for name, value in record.headers)
    return StoredRecord(
        record.topic, record.partition, record.offset, record.timestamp, record.key, record.value, headers
    )


def kafka_record(
    offset: int = 0,
    *,
    key: bytes | None = b"k",
    value: bytes | None = b"v",
    headers: Iterable[tuple[str, bytes | None]] = (),
    timestamp: int | None = 1_767_225_600_000,
    timestamp_type: int | None = 0,
    one: TopicPartition | None = None,
) -> ConsumerRecord:
    """A record as aiokafka gives it."""
    topic, partition = one or TopicPartition("orders.events", 3)
    sizes = (len(key or b""), len(value or b""))
    return ConsumerRecord(topic, partition, offset, timestamp, timestamp_type, key, value, None, *sizes, tuple(headers))


def file_of(
    records: Sequence[ConsumerRecord], first: int, end: int, *, lost: bool = False, one: TopicPartition | None = None
) -> bytes:
    """A file's bytes."""
    of = one or TopicPartition("orders.events", 3)
    sink = BytesIO()
    with closing(SegmentWriter(sink, of, first, PLENTY)) as writer:
        writer.add(records)
        writer.finish(end, lost=lost)
    return sink.getvalue()
