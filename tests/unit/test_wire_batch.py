"""A batch says what its records say one by one, whatever their bytes, and whoever stands beside whom."""

from __future__ import annotations

from itertools import starmap
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from producer.simulation import SimulationPlan, simulate
from schemas.events import DATA_OF, Event, StoredRecord, Unreadable
from schemas.wire import decode, decode_slim, order_of_slim, slim
from schemas.wire_batch import decode_all, decode_all_slim, orders_of_slims, slim_all
from tests.support.events import ENCODINGS, Rec, record

USUAL = [record("binary", type_=type_) for type_ in DATA_OF]
ODD: dict[str, list[bytes | None]] = {
    "ce_specversion": [b"1.1", b"", None],
    "ce_id": [b"", None, b"a\nb", b"\xff", b"x" * 201, "é".encode() * 101, b"a\x00", "ein Täg".encode()],
    "ce_source": [b"a b", None, b"/other", b"\xff"],
    "ce_type": [None, b"", b"order.gift_wrapped"],
    "ce_subject": [b"", None, b"a\nb", b"a\x00", b"x" * 200],
    "ce_sequence": [b"0", b"-1", b"+1", b"1.0", b"9" * 18, b"9" * 19, b"9" * 30, b"", None, "٣".encode(), b"007"],
    "ce_time": [
        b"2026-01-01T00:00:60Z",
        b"2026-02-30T00:00:00Z",
        b"2026-01-01T00:00:00+01:00",
        b"2026-01-01T00:00:00.1234567891-00:30",
        b"2026-01-01t00:00:00z",
        b"0001-01-01T00:00:00+01:00",
        b"9999-12-31T23:59:59-01:00",
        b"2026-01-01T00:00:00+99:00",
        b"2026-01-01T00:00:00Z\n2026-01-01T00:00:00Z",
        None,
    ],
    "ce_schemaversion": [b"0", b"1", b"7", b"-1", b"x", None],
    "content-type": [b"application/json", b"application/cloudevents+json", None],
    "ce_traceparent": [b"\xff\x00"],
}
VALUES = [
    b"{}",
    b"null",
    b"",
    b"[",
    rb'{"reason":"\u0000"}',
    rb'{"reason":"\u00e9"}',
    rb'{"reason":"\\u0000"}',
    rb'{"reason":"a","more":"\ud800"}',
    b'{"reason":"a","more":NaN}',
    b'{"reason":"a","more":1e99999}',
    b'{"reason":"a"}\n,{"reason":"b"}',
    b'{"payment_id":"p","amount":12.50}',
    b'{"payment_id":"p","amount":1e2}',
    b" " * (1024 * 1024 + 1),
    None,
]


def alike(records: list[Any]) -> None:
    assert decode_all(records) == [decode(one) for one in records]
    assert slim_all(records) == [*map(slim, records)]
    slims = [(found, one) for one in records if (found := slim(one)) is not None]
    assert decode_all_slim([thin for thin, _ in slims], [one for _, one in slims]) == [*starmap(decode_slim, slims)]
    assert orders_of_slims([thin for thin, _ in slims]) == [order_of_slim(thin) for thin, _ in slims]


def changed(rec: Rec, name: str, value: bytes | None) -> Rec:
    return rec._replace(headers=tuple({**dict(rec.headers), name: value}.items()))


@pytest.mark.parametrize("count", range(len(USUAL) + 1))
def test_records_of_all_types_are_read_alike_however_many(count: int) -> None:
    alike(USUAL[:count])
    assert all(isinstance(item, Event) for item in decode_all(USUAL[:count]))


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in ODD.items() for value in values])
def test_one_odd_header_changes_its_own_record_alone(name: str, value: bytes | None) -> None:
    odd = changed(USUAL[3], name, value)
    alike([*USUAL, odd, *USUAL])
    alike([changed(one, name, b"1") for one in USUAL] + [odd])
    alike([odd] * 9)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("type_", ["order.cancelled", "order.payment_captured", "order.confirmed"])
def test_one_odd_value_changes_its_own_record_alone(value: bytes | None, type_: str) -> None:
    odd = record("binary", type_=type_)._replace(value=value)
    alike([*USUAL, odd, *USUAL])
    alike([odd] * 9)


def test_headers_in_another_order_twice_or_not_at_all() -> None:
    rec = USUAL[0]
    alike([*USUAL, rec._replace(headers=rec.headers[::-1]), rec._replace(headers=()), *USUAL])
    alike([rec._replace(headers=(*rec.headers, ("ce_id", b"another")))] * 9)
    alike([rec._replace(headers=())] * 9)
    alike([rec._replace(headers=rec.headers[1:])] * 9)


def test_encodings_side_by_side() -> None:
    alike([record(encoding, type_=type_) for type_ in DATA_OF for encoding in ENCODINGS])


def test_a_whole_stream_with_all_that_is_wrong_in_it() -> None:
    plan = SimulationPlan(orders=300, seed=11, poison=40, tombstones=10)
    stream = [
        StoredRecord("t", 0, place, 0, one.key, one.value, tuple(one.headers))
        for place, one in enumerate(simulate(plan))
    ]
    for size in (1, 3, 50, 5_000):
        for first in range(0, len(stream), size):
            alike(stream[first : first + size])
    assert any(isinstance(item, Unreadable) for item in decode_all(stream))


names = st.sampled_from([*ODD, "id", "sequence"])
values = st.sampled_from([value for some in ODD.values() for value in some]) | st.binary(max_size=9)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(USUAL), st.dictionaries(names, values, max_size=2)), max_size=12))
@example([(USUAL[0], {}), (USUAL[0], {"ce_id": b"a\nb"}), (USUAL[0], {}), (USUAL[0], {}), (USUAL[0], {})])
def test_any_headers_beside_each_other(some: list[tuple[Rec, dict[str, bytes | None]]]) -> None:
    alike([one._replace(headers=tuple({**dict(one.headers), **odd}.items())) for one, odd in some])
