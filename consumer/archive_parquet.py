"""Kafka records as Parquet and back, byte for byte. Imports pyarrow, so it is imported only by who needs it.

| column | type | holds |
|---|---|---|
| topic | string | |
| partition | int32 | also in the path, Hive's way, where engines infer the same type |
| offset | int64 | ascending; the file's row groups have its minimum and maximum |
| timestamp | timestamp(ms, UTC), null | Kafka's own; null if the record has none (message format 0) |
| timestamp_type | string, null | CreateTime or LogAppendTime |
| key | binary, null | |
| value | binary, null | null: a tombstone |
| headers | list<struct<key: string, value: binary, null>> | in order, names may repeat; without any: an empty list |

Kafka's header names are UTF-8 by protocol. Not kept: how records were batched and compressed, and by which producer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from aiokafka import ConsumerRecord, TopicPartition

from consumer.archive_layout import Damaged, Last, Segment, from_metadata, to_metadata
from schemas.events import StoredRecord

_HEADER = pa.struct([pa.field("key", pa.string(), nullable=False), pa.field("value", pa.binary())])
SCHEMA = pa.schema(
    [
        pa.field("topic", pa.string(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("timestamp", pa.timestamp("ms", tz="UTC")),
        pa.field("timestamp_type", pa.string()),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("headers", pa.list_(pa.field("element", _HEADER, nullable=False)), nullable=False),
    ]
)
_READ = ["offset", "timestamp", "key", "value", "headers"]
_TYPES = {0: "CreateTime", 1: "LogAppendTime"}
_NO_TIMESTAMP = -1  # Kafka's own word for it
_ROW_GROUP_BYTES = 32 * 1024 * 1024  # uncompressed: what a writer and a reader hold of a file


class Limits(NamedTuple):
    """How much goes into a file: so many records, or bytes of keys and values. One record always fits."""

    records: int
    bytes: int = 256 * 1024 * 1024


class SegmentWriter:
    """Writes one file. Where it is full depends on the log alone, not on the batches in which that comes: two programs
    that start at the same offset write the same."""

    def __init__(self, sink: BinaryIO, of: TopicPartition, first: int, limits: Limits) -> None:
        self.records = 0
        self._of = of
        self._first = first
        self._limits = limits
        self._bytes = 0
        self._last: Last | None = None
        self._waiting: list[Any] = []
        self._writer = pq.ParquetWriter(
            sink,
            SCHEMA,
            compression="zstd",
            # Values hardly repeat: a dictionary of them would be begun and given up in each row group.
            use_dictionary=["topic", "timestamp_type", "headers.list.element.key", "headers.list.element.value"],
            write_statistics=["partition", "offset", "timestamp"],
            write_page_checksum=True,
        )

    def add(self, records: Sequence[ConsumerRecord]) -> int:
        """Write the next records; how many of them, which is all of them unless the file is full."""
        sizes = list(accumulate(map(_size, records), initial=self._bytes))
        count = self._fitting(sizes)
        if count:
            self.records += count
            self._bytes = sizes[count]
            self._last = Last(records[count - 1].offset, records[count - 1].timestamp)
            self._waiting.append(_batch(records[:count]))
        if sum(batch.nbytes for batch in self._waiting) >= _ROW_GROUP_BYTES:
            self._flush()
        return count

    def _fitting(self, sizes: Sequence[int]) -> int:
        """How many more records fit, given the file's size with none, one, two, … of them."""
        for number, size in enumerate(sizes[1:], 1):
            count = self.records + number
            if count > self._limits.records or (count > 1 and size > self._limits.bytes):
                return number - 1
        return len(sizes) - 1

    def finish(self, end: int, *, lost: bool = False) -> None:
        """Write what is left, and what the file is; `end` is where the next one starts."""
        self._flush()
        segment = Segment("", self._of, self._first, end, self.records, lost, self._last)
        self._writer.add_key_value_metadata(to_metadata(segment))
        self._writer.close()

    def close(self) -> None:
        """Without `finish` what was written is no segment."""
        self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            table = pa.Table.from_batches(self._waiting, SCHEMA)
            self._writer.write_table(table, row_group_size=len(table))
            self._waiting.clear()


def _size(record: ConsumerRecord) -> int:
    return len(record.key or b"") + len(record.value or b"")


def _batch(records: Sequence[ConsumerRecord]) -> Any:
    return pa.RecordBatch.from_arrays(
        [
            pa.array([record.topic for record in records], pa.string()),
            pa.array([record.partition for record in records], pa.int32()),
            pa.array([record.offset for record in records], pa.int64()),
            pa.array([record.timestamp for record in records], pa.int64()).cast(SCHEMA.field("timestamp").type),
            pa.array([_TYPES.get(record.timestamp_type) for record in records], pa.string()),
            pa.array([record.key for record in records], pa.binary()),
            pa.array([record.value for record in records], pa.binary()),
            _headers([record.headers for record in records]),
        ],
        schema=SCHEMA,
    )


def _headers(rows: Sequence[Sequence[tuple[str, bytes | None]]]) -> Any:
    """Lists of structs from their flat parts: pyarrow takes several times as long to find them in dicts."""
    starts = list(accumulate(map(len, rows), initial=0))
    flat = [part for pairs in rows for pair in pairs for part in pair]
    names, values = pa.array(flat[::2], pa.string()), pa.array(flat[1::2], pa.binary())
    pairs = pa.StructArray.from_arrays([names, values], fields=list(_HEADER))
    return pa.ListArray.from_arrays(pa.array(starts, pa.int32()), pairs, type=SCHEMA.field("headers").type)


def segment_of(path: str, source: Any) -> Segment:
    """What a file says that it holds. Raises Damaged if it can't be read, or is none of ours."""
    try:
        with pq.ParquetFile(source) as file:
            return from_metadata(path, file.metadata.metadata or {}, file.metadata.num_rows)
    except pa.ArrowInvalid as error:
        raise Damaged(f"{path} can't be read: {error}") from None


def read(segment: Segment, source: Any, first: int, end: int, most: int) -> Iterator[list[StoredRecord]]:
    """A file's records with these offsets, in lists of at most `most`. Holds a row group and one list."""
    try:
        with pq.ParquetFile(source, page_checksum_verification=True) as file:
            for number in range(file.num_row_groups):
                if _may_hold(file.metadata.row_group(number), first, end):
                    for batch in file.iter_batches(most, row_groups=[number], columns=_READ):
                        if found := _stored(segment.of, _within(batch, first, end)):
                            yield found
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise Damaged(f"{segment.path} can't be read: {error}") from None


def _may_hold(group: Any, first: int, end: int) -> bool:
    offsets = group.column(SCHEMA.get_field_index("offset")).statistics
    return offsets is None or not offsets.has_min_max or (offsets.min < end and offsets.max >= first)


def _within(batch: Any, first: int, end: int) -> Any:
    offsets = batch.column("offset")
    return batch.filter(pc.and_(pc.greater_equal(offsets, first), pc.less(offsets, end)))


def _stored(of: TopicPartition, batch: Any) -> list[StoredRecord]:
    # As integers: a timestamp that Python's datetime can't hold is none of our business.
    times = batch.column("timestamp").cast(pa.int64()).fill_null(_NO_TIMESTAMP)
    rows = zip(
        batch.column("offset").to_pylist(),
        times.to_pylist(),
        batch.column("key").to_pylist(),
        batch.column("value").to_pylist(),
        _pairs(batch.column("headers")),
        strict=True,
    )
    return [StoredRecord(of.topic, of.partition, *row) for row in rows]


def _pairs(headers: Any) -> Iterator[tuple[tuple[str, bytes | None], ...]]:
    """Each row's headers. `flatten` minds a slice's offset, so lengths say where each row's end."""
    flat = headers.flatten()
    pairs = list(zip(flat.field("key").to_pylist(), flat.field("value").to_pylist(), strict=True))
    at = 0
    for length in headers.value_lengths().to_pylist():
        yield tuple(pairs[at : at + length])
        at += length
