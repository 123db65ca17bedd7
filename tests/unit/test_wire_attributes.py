"""Each attribute's rules, at their boundaries, in headers and in JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.events import ENCODINGS, Encoding, named, read, record, refused

BAD: dict[str, list[tuple[Any, str]]] = {
    "id": [(None, "missing"), ("", "empty"), ("x" * 201, "201"), ("a\x00", "NUL")],
    "subject": [(None, "missing"), ("", "empty"), ("x" * 201, "201"), ("a\x00", "NUL")],
    "type": [(None, "missing"), ("", "empty"), ("a\x00", "NUL")],
    "source": [(None, "missing"), ("", "empty"), ("/a b", "URI"), ("/a\n", "URI"), ("/" * 2001, "URI")],
    "sequence": [
        (None, "missing"),
        *((v, "sequence") for v in (0, -1, "1.0", "+1", " 1", "", "one", "٣", 2**63, "9" * 50)),
    ],
    "schemaversion": [(v, "schemaversion") for v in ("-1", "1.5", "", "one", "9" * 50)],
    "time": [
        (None, "missing"),
        *((v, "RFC 3339") for v in ("yesterday", "2026-01-01", "2026-01-01T12:00:00", "20260101T120000Z")),
        *((v, "RFC 3339") for v in ("2026-01-01T12:00Z", "2026-01-01T12:00:00.Z", "2026-01-01T12:00:00+01:60")),
        *((v, "no such") for v in ("2026-02-29T12:00:00Z", "2026-01-01T12:00:61Z")),
        ("2026-01-01T24:00:00Z", "RFC 3339"),
        *((v, "no such") for v in ("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:60Z", "0000-01-01T00:00:00Z")),
        ("2026-01-01T12:00:00+24:00", "no such"),
    ],
}


@pytest.mark.parametrize("encoding", ["binary", "structured"])
@pytest.mark.parametrize(("name", "value", "why"), [(name, *case) for name, cases in BAD.items() for case in cases])
def test_a_bad_attribute_is_refused_by_name(encoding: Encoding, name: str, value: Any, why: str) -> None:
    found = refused(record(encoding, **{name: value}))
    assert name in found.why
    assert why in found.why


@pytest.mark.parametrize("name", ["id", "subject", "type", "source", "sequence", "time", "schemaversion"])
@pytest.mark.parametrize("value", [1.5, True, [], {}, ["x"]])
def test_a_structured_attribute_of_another_json_type_is_refused(name: str, value: Any) -> None:
    assert name in refused(record("structured", **{name: value})).why


@pytest.mark.parametrize("name", ["id", "subject", "type", "source", "sequence", "time", "schemaversion"])
def test_a_header_that_is_no_text_is_refused(name: str) -> None:
    assert f"{name}: not UTF-8" in refused(record("binary", attributes=named() | {name: b"\xff\xfe"})).why


@pytest.mark.parametrize("encoding", ["binary", "structured"])
def test_an_id_of_200_characters_of_any_width_is_read(encoding: Encoding) -> None:
    for text in ("x" * 200, "é" * 200, "😀" * 200):
        event = read(record(encoding, id=text, subject=text))
        assert (event.id, event.order_id) == (text, text)


@pytest.mark.parametrize(
    ("value", "version"), [(1, 1), ("1", 1), ("007", 7), (2**63 - 1, 2**63 - 1), (str(2**63 - 1), 2**63 - 1)]
)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_sequence_is_an_integer_or_digits_up_to_63_bits(encoding: Encoding, value: Any, version: int) -> None:
    assert read(record(encoding, sequence=value)).version == version


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-01T12:00:00Z", datetime(2026, 1, 1, 12, tzinfo=UTC)),
        ("2026-01-01t12:00:00z", datetime(2026, 1, 1, 12, tzinfo=UTC)),
        ("2026-01-01 12:00:00Z", datetime(2026, 1, 1, 12, tzinfo=UTC)),
        ("2026-01-01T00:30:00.1234569+02:00", datetime(2025, 12, 31, 22, 30, 0, 123456, tzinfo=UTC)),
        ("2026-01-01T12:00:00.5-00:30", datetime(2026, 1, 1, 12, 30, 0, 500000, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.9999999Z", datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    ],
)
def test_a_time_is_rfc_3339_in_utc_cut_to_the_microsecond(text: str, moment: datetime) -> None:
    event = read(record("structured", time=text))
    assert event.time == moment
    assert event.time.utcoffset() == moment.utcoffset()


@pytest.mark.parametrize("traceparent", [r'"\u0000"', r'"\ud800"', '""', "null", "5", '{"a": [1]}', '"00-xyz"'])
def test_whatever_stands_in_a_structured_traceparent_is_ignored(traceparent: str) -> None:
    rec = record("structured")
    assert rec.value is not None
    odd = rec.value[:-1] + b', "traceparent": ' + traceparent.encode() + b"}"
    assert read(rec._replace(value=odd))[:-1] == read(rec)[:-1]


@pytest.mark.parametrize("traceparent", [b"\x00", b"\xff", b"", None, b"00-0-0-0", b"x" * 9000])
@pytest.mark.parametrize(("encoding", "name"), [("binary", "ce_traceparent"), ("outbox", "traceparent")])
def test_whatever_stands_in_a_traceparent_header_is_ignored(
    encoding: Encoding, name: str, traceparent: bytes | None
) -> None:
    rec = record(encoding)
    assert read(record(encoding, headers=[(name, traceparent)]))[:-1] == read(rec)[:-1]


def test_a_half_surrogate_in_an_attribute_that_counts_is_refused() -> None:
    rec = record("structured", id="X")
    assert rec.value is not None
    found = refused(rec._replace(value=rec.value.replace(b'"X"', rb'"\ud800"')))
    assert found.why.startswith("id: holds half a surrogate")
    assert (found.order_id, found.event_id) == ("o-1", None)


def test_a_negative_schemaversion_is_refused_and_not_counted_up_from() -> None:
    assert refused(record("structured", schemaversion=-(10**15))).why == "schemaversion: below 0"
