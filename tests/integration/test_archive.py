"""A real log into an archive and back: byte for byte, on from where it ended, and no gap that isn't told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.dataset
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from consumer.archive import Archive
from consumer.archive_parquet import Limits
from runtime.kafka import Ends, delete_topics
from runtime.settings import Settings
from testkit.deadline import eventually
from testkit.plugin import MakeTopic
from tests.support.archives import archived, held, in_log, named
from tests.support.fleet import settings_for
from tests.support.streams import LARGEST, demo_stream, publish

pytestmark = pytest.mark.apache_kafka

MIB = 1024 * 1024
Row = tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]
ODD: list[Row] = [
    (b"k", b"v", [("a", b"1")]),
    (None, b"no key", []),
    (b"tombstone", None, [("h", b"")]),
    (b"", b"", [("", b""), ("", None)]),
    (b"twice", b"v", [("same", b"1"), ("other", b"2"), ("same", b"1"), ("same", None)]),
    (b"not text", bytes(range(256)), [("bytes", b"\xff\x00\xfe"), ("naïve ✓", "✓".encode())]),
    (b"large", b"x" * MIB, []),
]


@pytest_asyncio.fixture
async def settings(kafka_bootstrap: str, make_topic: MakeTopic) -> Settings:
    return settings_for(kafka_bootstrap, "postgresql://localhost/none", await make_topic(partitions=2))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "archive")


async def send(settings: Settings, rows: Sequence[Row], *, partition: int = 0, **more: Any) -> None:
    given = {"bootstrap_servers": settings.kafka_bootstrap_servers, "max_request_size": LARGEST, **more}
    async with AIOKafkaProducer(**given) as producer:
        await _send(producer, settings, rows, partition)


async def _send(producer: AIOKafkaProducer, settings: Settings, rows: Sequence[Row], partition: int) -> None:
    [topic] = settings.topics
    for key, value, headers in rows:
        await producer.send_and_wait(topic, value, key, partition, headers=headers)


def plain(count: int) -> list[Row]:
    return [(f"k-{n}".encode(), b"v", []) for n in range(count)]


def topic_of(settings: Settings) -> str:
    [topic] = settings.topics
    return topic


async def cut_off(settings: Settings, admin: AIOKafkaAdminClient, before: int) -> None:
    """As retention does: nothing before this offset of partition 0 is left."""
    one = TopicPartition(topic_of(settings), 0)
    await admin.delete_records({one: RecordsToDelete(before_offset=before)})


@pytest.mark.parametrize("compression", [None, "gzip", "lz4", "snappy", "zstd"])
async def test_what_was_sent_comes_back_byte_for_byte(settings: Settings, url: str, compression: str | None) -> None:
    await send(settings, ODD, compression_type=compression)
    await archived(settings, url)
    found = held(url, topic_of(settings))
    assert found == await in_log(settings)
    [records] = found.values()
    assert [(one.key, one.value, list(one.headers)) for one in records] == ODD


async def test_a_simulated_shops_log_comes_back(settings: Settings, url: str) -> None:
    topic = topic_of(settings)
    await publish(settings.kafka_bootstrap_servers, topic, demo_stream(100, topic=topic))
    done = await archived(settings, url, Limits(100))
    found = held(url, topic, most=7)
    assert found == await in_log(settings)
    assert [one.files for one in done] == [-(-len(found[TopicPartition(topic, n)]) // 100) for n in (0, 1)]


async def test_it_goes_on_where_it_ended(settings: Settings, url: str) -> None:
    topic = topic_of(settings)
    await send(settings, plain(5))
    await archived(settings, url, Limits(3))
    await send(settings, plain(4))
    [done, other] = await archived(settings, url, Limits(3))
    assert (done.first, done.next, done.files, done.records, other.files, other.next) == (5, 9, 2, 4, 0, None)
    again = await archived(settings, url, Limits(3))
    assert [one.files for one in again] == [0, 0]
    assert named(url) == [f"{topic}+0+{first:010d}.parquet" for first in (0, 3, 5, 8)]
    assert held(url, topic) == await in_log(settings)


async def test_a_tail_too_short_is_left_until_it_is_longer(settings: Settings, url: str) -> None:
    await send(settings, plain(5))
    [done, _] = await archived(settings, url, Limits(4), least=2)
    assert (done.files, done.next, done.left) == (1, 4, 1)
    await send(settings, plain(1))
    [done, _] = await archived(settings, url, Limits(4), least=2)
    assert (done.files, done.next, done.left) == (1, 6, 0)
    assert held(url, topic_of(settings)) == await in_log(settings)


async def test_only_the_partitions_named_are_copied(settings: Settings, url: str) -> None:
    await send(settings, plain(2), partition=0)
    await send(settings, plain(2), partition=1)
    [done] = await archived(settings, url, partitions=[1])
    assert (done.partition, done.records) == (1, 2)


async def test_it_begins_where_the_log_does(settings: Settings, kafka_admin: AIOKafkaAdminClient, url: str) -> None:
    await send(settings, plain(5))
    await cut_off(settings, kafka_admin, 2)
    await archived(settings, url)
    one = TopicPartition(topic_of(settings), 0)
    assert Archive(url).spans(settings.topics) == {one: Ends(2, 5)}
    assert held(url, one.topic) == await in_log(settings)


async def test_a_gap_is_refused_until_it_is_accepted(
    settings: Settings, kafka_admin: AIOKafkaAdminClient, url: str
) -> None:
    topic = topic_of(settings)
    one, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await send(settings, plain(3))
    await archived(settings, url)
    await send(settings, plain(5))
    await send(settings, plain(5), partition=1)
    await cut_off(settings, kafka_admin, 6)
    [refused, fine] = await archived(settings, url)
    assert (refused.lost, refused.files, fine.problem, fine.records) == (Ends(3, 6), 0, None, 5)
    assert "offsets 3 to 5 are lost" in (refused.problem or "")
    assert Archive(url).spans([topic]) == {one: Ends(0, 3), other: Ends(0, 5)}
    [accepted, _] = await archived(settings, url, accept_gap=True)
    assert (accepted.accepted, accepted.problem, accepted.first, accepted.next) == ([Ends(3, 6)], None, 6, 8)
    assert Archive(url).spans([topic])[one] == Ends(0, 8)
    assert Archive(url).gaps([topic]) == {one: [Ends(3, 6)]}
    assert [record.offset for record in held(url, topic)[one]] == [0, 1, 2, 6, 7]
    assert [one.problem for one in await archived(settings, url)] == [None, None]


async def test_what_transactions_leave_behind_is_no_gap(
    settings: Settings, kafka_admin: AIOKafkaAdminClient, url: str
) -> None:
    """Markers and what was taken back have offsets and no records, in the middle, at a file's end, and alone."""
    one = TopicPartition(topic_of(settings), 0)
    given = {"bootstrap_servers": settings.kafka_bootstrap_servers, "transactional_id": uuid4().hex}
    async with AIOKafkaProducer(**given) as producer:
        for kept in (True, False, True):
            await producer.begin_transaction()
            await _send(producer, settings, plain(2), 0)
            await (producer.commit_transaction() if kept else producer.abort_transaction())
        [done, _] = await archived(settings, url, Limits(2))
        assert (done.next, done.files, done.records) == (9, 2, 4)
        await producer.begin_transaction()
        await _send(producer, settings, plain(2), 0)
        await producer.abort_transaction()
    [done, _] = await archived(settings, url)
    assert (done.first, done.next, done.records) == (9, 12, 0)
    assert held(url, one.topic) == await in_log(settings)
    await cut_off(settings, kafka_admin, 12)  # nothing is lost by that
    await send(settings, plain(1))
    [done, _] = await archived(settings, url)
    assert (done.problem, done.first, done.next) == (None, 12, 13)
    assert Archive(url).spans([one.topic]) == {one: Ends(0, 13)}


async def test_an_open_transaction_is_left_for_later(settings: Settings, url: str) -> None:
    given = {"bootstrap_servers": settings.kafka_bootstrap_servers, "transactional_id": uuid4().hex}
    async with AIOKafkaProducer(**given) as producer:
        await send(settings, plain(2))
        await producer.begin_transaction()
        await _send(producer, settings, plain(2), 0)
        [done, _] = await archived(settings, url)
        assert done.next == 2
        await producer.commit_transaction()
    [done, _] = await archived(settings, url)
    assert (done.first, done.next, done.records) == (2, 5, 2)


async def test_what_compaction_removed_is_no_gap(
    kafka_bootstrap: str, kafka_admin: AIOKafkaAdminClient, url: str
) -> None:
    topic = f"test-{uuid4().hex[:12]}"
    quick = {"cleanup.policy": "compact", "segment.ms": "50", "min.cleanable.dirty.ratio": "0.0001"}
    await kafka_admin.create_topics([NewTopic(topic, 1, 1, topic_configs=quick)])
    settings = settings_for(kafka_bootstrap, "postgresql://localhost/none", topic)
    try:
        await send(settings, [(b"same", str(n).encode(), []) for n in range(20)])
        await eventually(lambda: _compacted(settings), 60, interval=0.2)
        await archived(settings, url)
        await send(settings, plain(1))
        await archived(settings, url)
        [records] = held(url, topic).values()
        [left] = (await in_log(settings)).values()
        assert set(left) <= set(records)  # it may have been compacted once more meanwhile
        assert Archive(url).spans([topic]) == {TopicPartition(topic, 0): Ends(0, records[-1].offset + 1)}
        assert records[0].offset == 19
    finally:
        await delete_topics(settings, [topic])


async def _compacted(settings: Settings) -> bool:
    """With one record more each time: an old enough segment ends when another record comes."""
    await send(settings, [(b"other", b"1", [])])
    [records] = (await in_log(settings)).values()
    return records[0].offset > 0


async def test_a_topic_that_was_made_anew_is_not_mixed_in(
    settings: Settings, kafka_admin: AIOKafkaAdminClient, url: str
) -> None:
    await send(settings, plain(5))
    await archived(settings, url)
    await remade(settings, kafka_admin)
    await send(settings, plain(3))
    [done, _] = await archived(settings, url)
    assert "next offset is 5, but the log's is 3" in (done.problem or "")
    await send(settings, plain(5))
    [done, _] = await archived(settings, url)
    assert "the record at offset 4 is another" in (done.problem or "")
    assert len(held(url, topic_of(settings))[TopicPartition(topic_of(settings), 0)]) == 5


async def remade(settings: Settings, admin: AIOKafkaAdminClient) -> None:
    await delete_topics(settings, settings.topics)

    async def made() -> bool:
        answer = await admin.create_topics([NewTopic(topic_of(settings), 2, 1)])
        assert answer.topic_errors[0][1] == 0, answer
        return True

    await eventually(made)


async def test_it_reads_as_one_table_partitioned_as_hive_does(settings: Settings, url: str) -> None:
    await send(settings, ODD, partition=0)
    await send(settings, plain(3), partition=1)
    await archived(settings, url, Limits(3))
    table = pyarrow.dataset.dataset(f"{url}/topics/{topic_of(settings)}", partitioning="hive").to_table(
        filter=pyarrow.dataset.field("partition") == 0
    )
    rows = sorted(table.select(["offset", "key", "value", "headers"]).to_pylist(), key=lambda row: row["offset"])
    found = [(row["key"], row["value"], [(one["key"], one["value"]) for one in row["headers"]]) for row in rows]
    assert found == ODD
