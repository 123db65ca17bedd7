"""Records as Parquet and back: nothing is lost, and where a file is full depends on the records alone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from io import BytesIO
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiokafka import ConsumerRecord, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from consumer import archive_parquet
from consumer.archive_layout import Damaged, Last, Segment
from consumer.archive_parquet import Limits, SegmentWriter
from schemas.events import StoredRecord
from tests.support.archives import file_of, kafka_record, stored

ONE = TopicPartition("orders.events", 3)
PATH = "topics/orders.events/partition=3/orders.events+3+0000000010.parquet"

bytes_or_none = st.none() | st.binary(max_size=30)
headers = st.lists(st.tuples(st.text(max_size=5), bytes_or_none), max_size=4)
contents = st.fixed_dictionaries(
    {
        "key": bytes_or_none,
        "value": bytes_or_none,
        "headers": headers,
        "timestamp": st.integers(-1, 2**63 - 1),
        "timestamp_type": st.sampled_from([0, 1]),
    }
)


def read(data: bytes, first: int = 0, end: int = 2**63 - 1, most: int = 1_000) -> list[list[StoredRecord]]:
    segment = archive_parquet.segment_of(PATH, BytesIO(data))
    return list(archive_parquet.read(segment, BytesIO(data), first, end, most))


def flat(lists: Sequence[list[StoredRecord]]) -> list[StoredRecord]:
    return [record for some in lists for record in some]


@given(st.lists(contents, max_size=12))
def test_whatever_a_record_holds_comes_back(rows: list[dict[str, Any]]) -> None:
    records = [kafka_record(10 + number, **row) for number, row in enumerate(rows)]
    assert flat(read(file_of(records, 10, 30))) == [stored(record) for record in records]


def test_a_record_without_a_timestamp_has_kafkas_word_for_it() -> None:
    data = file_of([kafka_record(10, timestamp=None, timestamp_type=None)], 10, 11)
    assert flat(read(data))[0].timestamp == -1
    [row] = pq.read_table(BytesIO(data)).select(["timestamp", "timestamp_type"]).to_pylist()
    assert row == {"timestamp": None, "timestamp_type": None}


def test_it_is_what_other_engines_read() -> None:
    data = file_of([kafka_record(10, headers=[("a", None)]), kafka_record(12, timestamp_type=1)], 10, 14)
    file = pq.ParquetFile(BytesIO(data))
    assert [(one.name, str(one.type)) for one in file.schema_arrow] == [
        ("topic", "string"),
        ("partition", "int32"),
        ("offset", "int64"),
        ("timestamp", "timestamp[ms, tz=UTC]"),
        ("timestamp_type", "string"),
        ("key", "binary"),
        ("value", "binary"),
        ("headers", "list<element: struct<key: string not null, value: binary> not null>"),
    ]
    assert file.read().column("timestamp_type").to_pylist() == ["CreateTime", "LogAppendTime"]
    assert file.metadata.row_group(0).column(2).compression == "ZSTD"
    assert file.metadata.row_group(0).column(2).statistics.min == 10


def test_a_file_says_what_it_holds() -> None:
    data = file_of([kafka_record(12, timestamp=5), kafka_record(15, timestamp=4)], 10, 20)
    assert archive_parquet.segment_of(PATH, BytesIO(data)) == Segment(PATH, ONE, 10, 20, 2, last=Last(15, 4))
    lost = archive_parquet.segment_of(PATH, BytesIO(file_of([], 10, 20, lost=True)))
    assert (lost.records, lost.lost, lost.last) == (0, True, None)
    assert read(file_of([], 10, 20)) == []


def test_only_what_was_asked_for_is_read_in_lists_of_that_size() -> None:
    data = file_of([kafka_record(offset) for offset in range(10, 30)], 10, 30)
    lists = read(data, 13, 24, most=4)
    assert [record.offset for record in flat(lists)] == list(range(13, 24))
    assert max(map(len, lists)) <= 4


def test_row_groups_that_cannot_hold_it_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_parquet, "_ROW_GROUP_BYTES", 1)
    sink = BytesIO()
    with closing(SegmentWriter(sink, ONE, 10, Limits(100))) as writer:
        for offset in range(10, 20, 2):
            writer.add([kafka_record(offset), kafka_record(offset + 1)])
        writer.finish(20)
    file = pq.ParquetFile(BytesIO(sink.getvalue()))
    assert file.num_row_groups == 5
    taken = [archive_parquet._may_hold(file.metadata.row_group(n), 13, 16) for n in range(5)]
    assert taken == [False, True, True, False, False]
    assert [one.offset for one in flat(read(sink.getvalue(), 13, 16))] == [13, 14, 15]


def cut(records: Sequence[ConsumerRecord], sizes: Sequence[int], limits: Limits) -> list[int]:
    """How many records each file gets if they come in batches of these sizes."""
    counts: list[int] = []
    ends = [*accumulate(sizes), len(records)]
    at, writer = 0, SegmentWriter(BytesIO(), ONE, 0, limits)
    while at < len(records):
        batch = records[at : next(end for end in ends if end > at)]
        count = writer.add(batch)
        at += count
        if count < len(batch):
            counts.append(writer.records)
            writer.close()
            writer = SegmentWriter(BytesIO(), ONE, 0, limits)
    writer.close()
    return [*counts, writer.records]


@given(
    st.lists(st.integers(0, 12), max_size=15),
    st.lists(st.integers(0, 5), max_size=8),
    st.integers(1, 6),
    st.integers(1, 40),
)
def test_where_a_file_is_full_does_not_depend_on_batches(
    values: list[int], sizes: list[int], most: int, size: int
) -> None:
    records = [kafka_record(n, value=b"x" * length) for n, length in enumerate(values)]
    limits = Limits(most, size)
    counts = cut(records, sizes, limits)
    assert counts == cut(records, [], limits)
    assert sum(counts) == len(records)
    assert all(1 <= count <= most for count in counts if records)


def test_a_record_larger_than_a_file_has_one_of_its_own() -> None:
    records = [kafka_record(n, value=b"x" * length) for n, length in enumerate([1, 50, 1, 1])]
    assert cut(records, [], Limits(10, 20)) == [1, 1, 2]


@pytest.mark.parametrize("spoil", [lambda data: data[:-9], lambda data: b"", lambda data: b"PAR1" + b"\0" * 40])
def test_a_file_that_is_torn_is_damaged(spoil: Any) -> None:
    with pytest.raises(Damaged, match=r"\+3\+0000000010\.parquet can't be read"):
        archive_parquet.segment_of(PATH, BytesIO(spoil(file_of([kafka_record(10)], 10, 11))))


def test_another_programs_parquet_is_not_taken() -> None:
    sink = BytesIO()
    pq.write_table(pa.table({"offset": [10]}), sink)
    with pytest.raises(Damaged, match="no file of this archive's format"):
        archive_parquet.segment_of(PATH, BytesIO(sink.getvalue()))


def test_bytes_that_rotted_are_noticed() -> None:
    value = bytes(range(256)) * 4
    data = bytearray(file_of([kafka_record(10, value=value)], 10, 11))
    column = pq.ParquetFile(BytesIO(bytes(data))).metadata.row_group(0).column(6)
    data[column.data_page_offset + column.total_compressed_size - 5] ^= 1
    with pytest.raises((Damaged, OSError)):
        read(bytes(data))
