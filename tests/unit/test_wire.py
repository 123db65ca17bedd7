"""Records into events: how an encoding is recognised, what each attribute may be, what stays of the unreadable."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.events import Tombstone
from schemas.wire import MAX_BYTES, decode
from tests.support.events import ENCODINGS, Encoding, Rec, named, placed, read, record, refused, structured, to_bytes

ODD_KEYS = [
    (b"", "empty"),
    (b"\xff", "UTF-8"),
    (b'""', "empty"),
    (b"x" * 201, "201"),
    (b'"\\u0000"', "NUL"),
    (None, "missing"),
]


# Three encodings


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_event_is_the_same_in_each_encoding(encoding: Encoding) -> None:
    rec = record(encoding, placed(), version=7, schemaversion=1, order="ö-1")
    event = read(rec)
    assert (event.source, event.id, event.type) == ("/shop/orders", "ö-1-7", "order.placed")
    assert (event.order_id, event.version) == ("ö-1", 7)
    assert event.time == datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert event.data == placed()
    assert json.loads(event.data_text or "") == placed()
    assert event.record is rec


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/cloudevents+json",
        b"application/cloudevents+json; charset=UTF-8",
        b"Application/CloudEvents+JSON",
        b"application/json",
        None,
    ],
)
def test_a_structured_event_is_known_by_its_content_type_or_by_its_body(content_type: bytes | None) -> None:
    rec = record("structured")._replace(headers=(("content-type", content_type),))
    assert read(rec).id == "o-1-1"
    assert read(rec._replace(headers=())).id == "o-1-1"


def test_a_content_type_that_says_structured_wins_over_binary_headers() -> None:
    rec = record("structured", id="inside")
    binary = record("binary", id="outside")
    assert read(rec._replace(headers=(*rec.headers, *binary.headers))).id == "inside"
    assert read(rec._replace(headers=binary.headers, value=to_bytes(placed()))).id == "outside"


@pytest.mark.parametrize(
    "content_type", [b"application/cloudevents; x=y", b"APPLICATION/CloudEvents+JSON;charset=UTF-8"]
)
def test_a_content_type_says_structured_in_any_case_and_with_parameters(content_type: bytes) -> None:
    headers = (("ce_specversion", b"1.0"), ("content-type", content_type))
    assert read(record("structured", id="inside")._replace(headers=headers)).id == "inside"


def test_binary_headers_win_over_a_body_that_looks_structured() -> None:
    body = {**placed(), "specversion": "1.0", "id": "inside"}
    assert read(record("binary", body, id="outside")).id == "outside"


def test_a_body_that_looks_structured_wins_over_an_outbox_header() -> None:
    rec = record("structured", id="inside")
    assert read(rec._replace(headers=(("id", b"outside"),))).id == "inside"


def test_an_outbox_header_counts_only_where_no_header_begins_with_ce() -> None:
    rec = record("outbox", id="o-1-1")
    assert read(rec).id == "o-1-1"
    assert "no event" in refused(rec._replace(headers=(*rec.headers, ("ce_partitionkey", b"7")))).why


def test_a_record_in_no_encoding_is_refused_with_what_was_looked_for() -> None:
    why = refused(Rec(value=b'{"hello": "world"}')).why
    assert all(name in why for name in ("content-type", "ce_specversion", "specversion", "id"))


def test_specversion_inside_of_other_data_makes_no_structured_event() -> None:
    odd = {**placed(), "note": {"specversion": "1.0"}}
    assert read(record("outbox", odd)).data == placed()


@pytest.mark.parametrize("spec", ["0.3", "1.0.1", "", None])
@pytest.mark.parametrize("encoding", ["binary", "structured"])
def test_only_cloudevents_1_0_is_read(encoding: Encoding, spec: str | None) -> None:
    rec = record(encoding, attributes={**named(), "specversion": spec})
    if spec is None:
        rec = rec._replace(headers=tuple((n, None if n == "ce_specversion" else v) for n, v in rec.headers))
    assert "specversion" in refused(rec).why


def test_of_a_repeated_header_the_last_counts() -> None:
    assert read(record("binary", headers=[("ce_id", b"again")])).id == "again"
    assert "id is missing" in refused(record("binary", headers=[("ce_id", None)])).why


def test_an_optional_header_without_a_value_is_as_good_as_absent() -> None:
    nothing = [(name, None) for name in ("content-type", "ce_schemaversion", "ce_traceparent", "ce_dataschema")]
    assert read(record("binary", headers=nothing)) == read(record("binary"))._replace(
        record=record("binary", headers=nothing)
    )


# The outbox, as Debezium writes it


@pytest.mark.parametrize("key", [b"o-1", b'"o-1"', b'"\\u006f-1"'])
def test_the_outbox_key_is_the_order_id_bare_or_as_json(key: bytes) -> None:
    assert read(record("outbox", key=key)).order_id == "o-1"
    assert decode(Rec(key=key)) == Tombstone("o-1", Rec(key=key))


@pytest.mark.parametrize("order", ["x" * 200, "é" * 200, '"', '"o"1"', '"o-1', " o-1 "])
def test_any_order_id_survives_as_a_key(order: str) -> None:
    assert read(record("outbox", key=order.encode())).order_id == order
    assert read(record("outbox", key=json.dumps(order).encode())).order_id == order


@pytest.mark.parametrize(("key", "why"), ODD_KEYS)
def test_a_key_that_can_name_no_order_is_refused(key: bytes | None, why: str) -> None:
    rec = record("outbox")._replace(key=key)
    assert why in refused(rec).why
    assert why in refused(rec._replace(value=None)).why


def test_the_outbox_value_is_the_data_or_a_json_string_that_holds_it() -> None:
    text = json.dumps(placed())
    for value in (text, json.dumps(text), f" {json.dumps(text)}\n"):
        event = read(record("outbox", value.encode()))
        assert (event.data, json.loads(event.data_text or "")) == (placed(), placed())
    assert "dictionary" in refused(record("outbox", json.dumps(json.dumps(text)).encode())).why


def test_an_outbox_event_without_source_comes_from_its_topic() -> None:
    rec = record("outbox", source=None)._replace(topic="shop.outbox")
    assert read(rec).source == "shop.outbox"
    assert read(record("outbox", source="/app")).source == "/app"


def test_a_null_value_is_a_tombstone_whatever_the_headers() -> None:
    for rec in (record("binary"), record("structured"), record("outbox"), Rec()):
        gone = rec._replace(value=None)
        assert decode(gone) == Tombstone("o-1", gone)


# Data


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("price", ["12345678901234.1234", "0.1", "99999999999999.9999", "12.50", "7"])
def test_a_price_is_exact_as_a_number_and_as_a_text(encoding: Encoding, price: str) -> None:
    for written in (price, f'"{price}"'):
        data = to_bytes(placed()).replace(b'"12.50"', written.encode())
        event = read(record(encoding, data))
        assert event.data["lines"][0]["unit_price"] == price
        assert f'"unit_price": {written}' in (event.data_text or "")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("number", "text"), [("-0", "0"), ("-0.0", "0"), ("0.00", "0"), ("1e2", "100"), ("5E-4", "0.0005")]
)
def test_an_odd_number_is_plain_money(encoding: Encoding, number: str, text: str) -> None:
    data = to_bytes(placed()).replace(b'"12.50"', number.encode())
    assert read(record(encoding, data)).data["lines"][0]["unit_price"] == text


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_money_may_be_a_number_wherever_there_is_money(encoding: Encoding) -> None:
    for type_ in ("payment_captured", "refunded"):
        data = b'{"payment_id": "p", "reason": "r", "amount": 12345678901234.1234}'
        assert read(record(encoding, data, type_)).data["amount"] == "12345678901234.1234"
    line = b'{"line": {"sku": "a", "quantity": 1, "unit_price": 12345678901234.1234}}'
    assert read(record(encoding, line, "line_added")).data["line"]["unit_price"] == "12345678901234.1234"


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("value", [None, [], [1, "x"], {"a": {"b": None}}, 1.5, 10**60, True, {"π": "☕"}])
def test_an_unknown_type_may_carry_any_json(encoding: Encoding, value: Any) -> None:
    event = read(record(encoding, value, "gift_wrapped"))
    assert event.data is None
    assert event.data_text is None if value is None else json.loads(event.data_text or "") == value


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_data_that_the_type_does_not_carry_is_kept_as_text_alone(encoding: Encoding) -> None:
    event = read(record(encoding, b'{"by":  1.10}', "confirmed"))
    assert (event.data, event.data_text) == (None, '{"by":  1.10}')


@pytest.mark.parametrize("type_", ["order.confirmed", "order.gift_wrapped"])
def test_no_data_is_no_error_where_none_are_needed(type_: str) -> None:
    for rec in (record("binary", b"", type_), record("structured", attributes=named(type_), data=b"null")):
        assert read(rec)[6:8] == (None, None)
    assert read(Rec(value=to_bytes({"specversion": "1.0", **named(type_)}))).data_text is None
    assert "data is missing" in refused(Rec(value=to_bytes({"specversion": "1.0", **named()}))).why


def test_of_data_given_twice_the_last_counts_in_value_and_text_alike() -> None:
    once = structured(named(), to_bytes(placed(currency="EUR")))
    twice = once[:-1] + rb', "d\u0061ta" : ' + to_bytes(placed(currency="USD")) + b" }"
    event = read(Rec(value=twice))
    assert (event.data["currency"], json.loads(event.data_text or "")["currency"]) == ("USD", "USD")


@pytest.mark.parametrize(
    "ignored", ['"unknown": {"x": [1]}', '"shipping_address": null', '"amount": 1e9', '"schema": "y"']
)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_unknown_fields_are_ignored_and_kept_in_the_text(encoding: Encoding, ignored: str) -> None:
    data = to_bytes(placed())[:-1] + f", {ignored}}}".encode()
    event = read(record(encoding, data))
    assert event.data["lines"] == placed()["lines"]
    assert ignored in (event.data_text or "")


def test_data_in_base64_is_data() -> None:
    text = base64.b64encode(to_bytes(placed())).decode()
    assert read(Rec(value=to_bytes({"specversion": "1.0", **named(), "data_base64": text}))).data == placed()
    null = to_bytes({"specversion": "1.0", **named("confirmed"), "data_base64": None})
    assert read(Rec(value=null)).data_text is None
    both = to_bytes({"specversion": "1.0", **named(), "data": None, "data_base64": text})
    assert read(Rec(value=both)).data == placed()
    for bad in ("***", 5, "é", ["x"], text[:-3]):
        rec = Rec(value=to_bytes({"specversion": "1.0", **named(), "data_base64": bad}))
        assert refused(rec).why.startswith(("data_base64", "not JSON"))


# What is too large, and what stays of the unreadable


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_value_of_1_mib_is_read_and_one_byte_more_is_refused(encoding: Encoding) -> None:
    rec = record(encoding)
    assert rec.value is not None
    full = rec._replace(value=rec.value + b" " * (MAX_BYTES - len(rec.value)))
    assert len(full.value or b"") == 1_048_576
    assert read(full).order_id == "o-1"
    over = full._replace(value=(full.value or b"") + b" ")
    assert "1048577 bytes" in refused(over).why
    assert refused(over).order_id == "o-1"


def test_too_large_is_said_before_anything_is_parsed() -> None:
    nonsense = Rec(value=b"[" * (MAX_BYTES + 1))
    assert refused(nonsense).why.startswith("1048577 bytes")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_names_an_unreadable_event_is_kept(encoding: Encoding) -> None:
    found = refused(record(encoding, id="e-7", subject="o-7", time="never", key=b"o-7"))
    assert (found.order_id, found.event_id) == ("o-7", "e-7")
    assert found.record.value is not None


def test_the_subject_names_the_order_before_the_key_does() -> None:
    for encoding in ENCODINGS[:2]:
        assert refused(record(encoding, subject="o-7", key=b"elsewhere", time=None)).order_id == "o-7"
        assert refused(record(encoding, subject=None, key=b"o-8")).order_id == "o-8"


@pytest.mark.parametrize("data", [rb'{"x": "\ud800"}', rb'{"x": "\u0000"}', b"NaN", b"[}"])
def test_bad_data_in_a_structured_event_does_not_hide_its_order_unless_it_is_no_json(data: bytes) -> None:
    found = refused(record("structured", data, key=None))
    is_json = b"\\u" in data
    assert (found.order_id, found.event_id) == (("o-1", "o-1-1") if is_json else (None, None))


def test_a_structured_event_without_specversion_still_names_its_order() -> None:
    rec = Rec(key=None, value=to_bytes(named()), headers=(("content-type", b"application/cloudevents+json"),))
    assert refused(rec)[:3] == ("specversion is missing", "o-1", "o-1-1")


def test_a_name_that_is_none_is_not_kept() -> None:
    found = refused(record("binary", id="x" * 201, subject="", key=b"\xff"))
    assert (found.order_id, found.event_id) == (None, None)


def test_a_reason_never_repeats_the_payload() -> None:
    secret = placed(customer={"id": "c-1", "name": "Eve Secret", "email": 5}, note="Eve Secret")
    for encoding in ENCODINGS:
        assert "Eve" not in refused(record(encoding, secret)).why
        assert "Eve" not in refused(record(encoding, to_bytes(secret)[:-4])).why
