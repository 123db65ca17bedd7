"""Whatever the bytes, `decode` answers, and what it calls an event PostgreSQL can hold."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import DATA_OF, Event
from schemas.wire import decode
from tests.support.events import DATA, ENCODINGS, Encoding, Rec, named, record
from tests.support.soundness import sound, strings

TYPES = [*DATA_OF, "order.gift_wrapped"]
SCRAPS = [
    b"\\u0000",
    b"\\ud800",
    b"\\u00e9",
    b"\x00",
    b"\xff",
    b'"',
    b"{",
    b"[" * 300,
    b"1e99999",
    b"NaN",
    b"-",
    b"9" * 4301,
]

encodings = st.sampled_from(ENCODINGS)
names = st.sampled_from(
    ["id", "content-type", "ce_specversion", "ce_id", "ce_type", "ce_sequence", "eventType", "sequence", "time"]
)
texts = st.sampled_from([b"1", b"1.0", b"order.placed", b"2026-01-01T00:00:00Z", b"application/cloudevents+json"])
headers = st.lists(st.tuples(names | st.text(max_size=9), st.none() | st.binary(max_size=9) | texts), max_size=12)
leaves = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
fields = st.sampled_from(
    ["customer", "id", "name", "currency", "lines", "line", "sku", "quantity", "unit_price", "amount", "reason"]
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields | st.text(max_size=3), inner, max_size=5)
)


@settings(max_examples=70, deadline=None)
@given(st.none() | st.binary(max_size=60), st.none() | st.binary(max_size=60), headers)
def test_any_bytes_at_all_are_answered(key: bytes | None, value: bytes | None, head: list[Any]) -> None:
    assert sound(decode(Rec(key=key, value=value, headers=tuple(head))))


@settings(max_examples=70, deadline=None)
@given(encodings, st.sampled_from(TYPES), st.data())
def test_a_valid_record_with_a_few_bytes_changed_is_answered(
    encoding: Encoding, type_: str, data: st.DataObject
) -> None:
    rec = record(encoding, type_=type_)
    raw = bytearray(rec.value or b"")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=2) | st.sampled_from(SCRAPS))
    assert sound(decode(rec._replace(value=bytes(raw))))


@settings(max_examples=70, deadline=None)
@given(encodings, st.sampled_from(TYPES), st.data())
def test_a_torn_record_is_unreadable_or_an_event_never_an_exception(
    encoding: Encoding, type_: str, data: st.DataObject
) -> None:
    rec = record(encoding, type_=type_)
    raw = rec.value or b""
    torn = rec._replace(value=raw[: data.draw(st.integers(0, len(raw)))])
    assert sound(decode(torn))
    assert sound(decode(rec._replace(headers=rec.headers[: data.draw(st.integers(0, 7))])))


@settings(max_examples=70, deadline=None)
@given(encodings, st.sampled_from(TYPES), values)
def test_any_json_as_data_is_answered(encoding: Encoding, type_: str, value: Any) -> None:
    found = decode(record(encoding, value, type_))
    assert sound(found)
    if (
        type_ == "order.gift_wrapped"
        and encoding == "structured"
        and "\\u" not in json.dumps(value, ensure_ascii=False)
    ):
        assert isinstance(found, Event) is ("\x00" not in "".join(strings(value)))


@settings(max_examples=70, deadline=None)
@given(st.sampled_from(list(named())), values)
def test_any_json_as_an_attribute_is_answered(name: str, value: Any) -> None:
    assert sound(decode(record("structured", attributes={**named(), name: value})))


@settings(max_examples=70, deadline=None)
@given(st.sampled_from(TYPES), values, encodings, encodings)
def test_two_encodings_of_an_event_say_the_same(type_: str, value: Any, one: Encoding, other: Encoding) -> None:
    value = {**(DATA[type_] or {}), "more": value}
    first, second = decode(record(one, value, type_)), decode(record(other, value, type_))
    assert type(first) is type(second)
    if isinstance(first, Event):
        assert first[:-1] == second[:-1]
