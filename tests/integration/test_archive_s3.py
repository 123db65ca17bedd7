"""An archive in S3, by pyarrow's own client, against a small S3 of ours."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from aiokafka import TopicPartition

from consumer.archive import Archive
from consumer.archive_layout import file_name, folder
from consumer.archive_place import Place
from runtime.kafka import Ends
from schemas.errors import Unavailable
from tests.support.archives import file_of, held, kafka_record, stored
from tests.support.s3 import Bucket, serving

ONE = TopicPartition("orders.events", 3)
KEY = f"years/past/{folder(*ONE)}/{file_name(ONE, 0)}"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with serving() as made:
        yield made


def put(place: Place, first: int, data: bytes) -> bool:
    with place.staged(ONE, first) as staged:
        staged.file.write(data)
        return staged.publish()


def test_files_come_back_and_are_never_replaced(bucket: Bucket) -> None:
    records = [kafka_record(offset, headers=[("a", None)]) for offset in range(30)]
    place = Place.at(bucket.url("years/past/"))
    for first in (0, 10, 20):
        assert put(place, first, file_of(records[first : first + 10], first, first + 10))
    assert not put(place, 10, file_of([], 10, 15))
    assert sorted(bucket.objects) == [f"years/past/{folder(*ONE)}/{file_name(ONE, n)}" for n in (0, 10, 20)]
    assert Archive(bucket.url("years/past")).spans([ONE.topic]) == {ONE: Ends(0, 30)}
    assert held(bucket.url("years/past"), ONE.topic, most=7) == {ONE: [stored(record) for record in records]}


def large() -> bytes:
    """A file that is sent in more than one part: bytes that don't shrink."""
    random = Random(1)
    data = file_of([kafka_record(n, value=random.randbytes(1024 * 1024)) for n in range(30)], 0, 30)
    assert len(data) > 30 * 1024 * 1024
    return data


def test_a_large_file_comes_back(bucket: Bucket) -> None:
    data = large()
    assert put(Place.at(bucket.url("years/past")), 0, data)
    assert bucket.requests["PUT partNumber uploadId"] > 1
    assert bucket.objects == {KEY: data}


@pytest.mark.parametrize("refused", [("PUT", "partNumber"), ("POST", "uploadId"), ("POST", "uploads")])
def test_a_store_that_refuses_in_between_has_no_torn_object(bucket: Bucket, refused: tuple[str, str]) -> None:
    data = large()
    bucket.refuses = refused
    with pytest.raises(Unavailable, match="s3://shop/years/past: "):
        put(Place.at(bucket.url("years/past")), 0, data)
    assert bucket.objects == {}


def test_a_bucket_that_is_not_there_is_named(bucket: Bucket) -> None:
    place = Place.at(bucket.url("years/past", bucket="none"))
    with pytest.raises(Unavailable, match="NO_SUCH_BUCKET"):
        put(place, 0, file_of([kafka_record(0)], 0, 1))
