"""Commands from outside: what is one, and what is said of what is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer import commands
from producer.commands import InvalidCommand
from producer.order import EVENT_OF, Command
from tests.support.soundness import strings
from tests.unit.test_decide import DATA


@pytest.mark.parametrize("kind", sorted(EVENT_OF))
def test_the_data_of_its_event_make_a_command(kind: Any) -> None:
    found = commands.of_object(kind, "o-1", DATA[kind])
    assert found == Command(kind, "o-1", DATA[kind])
    assert commands.read(kind, "o-1", json.dumps(DATA[kind]).encode()) == found


def test_what_is_not_in_the_contract_is_left_out_and_a_number_is_read_exactly() -> None:
    body = b'{"payment_id": "p", "amount": 12345678901234.1234, "note": "secret"}'
    assert commands.read("pay", "o-1", body).data == {"payment_id": "p", "amount": "12345678901234.1234"}


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b"\xff", b'{"amount": 1}', b'{"payment_id": "\\u0000"}'])
def test_what_is_no_payment_is_refused_in_words(body: bytes) -> None:
    with pytest.raises(InvalidCommand):
        commands.read("pay", "o-1", body)


@pytest.mark.parametrize("order_id", ["", "x" * 201, "a\0b", "\ud800"])
def test_what_is_no_order_id_is_refused(order_id: str) -> None:
    with pytest.raises(InvalidCommand):
        commands.of_object("confirm", order_id)


def test_more_than_a_consumer_reads_is_refused() -> None:
    with pytest.raises(InvalidCommand, match="bytes"):
        commands.read("place", "o-1", b" " * (1024 * 1024 + 1))


def test_what_is_said_holds_no_values() -> None:
    with pytest.raises(InvalidCommand) as refused:
        commands.of_object("pay", "o-1", {"payment_id": "p", "amount": "secret"})
    assert "secret" not in refused.value.why
    with pytest.raises(InvalidCommand):
        commands.of_object("pay", "o-1", {"payment_id": object()})


@given(st.sampled_from(sorted(EVENT_OF)), st.binary(max_size=200))
def test_whatever_the_bytes_it_is_a_command_or_refused(kind: Any, body: bytes) -> None:
    try:
        found = commands.read(kind, "o-1", body)
    except InvalidCommand:
        return
    assert all("\0" not in text for text in strings(found.data))
