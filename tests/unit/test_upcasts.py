"""Older versions of an event, brought to the current one."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.events import DATA_OF
from schemas.upcasts import upcast
from tests.support.events import DATA, ENCODINGS, LINE, Row, placed, read, record, refused

OLD: Row = {"customer_id": "c-1", "customer_name": "Ada", "currency": "EUR", "items": [LINE]}


def test_an_order_placed_in_version_0_becomes_one_of_version_1() -> None:
    assert upcast("order.placed", 0, OLD) == placed()
    email = upcast("order.placed", 0, {**OLD, "customer_email": "ada@example.com", "note": "x"})
    assert email == {**placed(), "customer": {"id": "c-1", "name": "Ada", "email": "ada@example.com"}, "note": "x"}


@pytest.mark.parametrize("encoding", ["binary", "structured", "outbox"])
def test_an_old_event_reads_as_a_new_one_and_keeps_its_own_text(encoding: Any) -> None:
    event = read(record(encoding, OLD, schemaversion=0))
    assert event.data == placed()
    assert "items" in (event.data_text or "")
    assert read(record(encoding, OLD, schemaversion="0")).data == placed()


@pytest.mark.parametrize("version", [None, 1, "1", 2, 99, 10**20])
def test_the_current_version_and_newer_ones_are_read_as_they_are(version: Any) -> None:
    assert read(record("structured", schemaversion=version)).data == placed()
    assert "customer" in refused(record("structured", OLD, schemaversion=version)).why


@pytest.mark.parametrize("type_", sorted(DATA_OF.keys() - {"order.placed"}))
def test_other_types_have_not_changed_since_version_0(type_: str) -> None:
    event = read(record("binary", type_=type_, schemaversion=0))
    assert event.data == DATA[type_]


@pytest.mark.parametrize("data", [{}, {"customer_id": 5}, {"items": {}}, [], "x", 5, placed()])
def test_an_old_event_that_is_none_is_unreadable(data: Any) -> None:
    for encoding in ENCODINGS:
        assert refused(record(encoding, data, schemaversion=0)).why.startswith(("data", "not JSON"))


def test_money_as_a_number_is_exact_in_old_events_too() -> None:
    line = b'{"sku":"a","quantity":1,"unit_price":12345678901234.1234}'
    old = b'{"customer_id":"c-1","customer_name":"A","currency":"EUR","items":[' + line + b"]}"
    assert read(record("binary", old, schemaversion=0)).data["lines"][0]["unit_price"] == "12345678901234.1234"
