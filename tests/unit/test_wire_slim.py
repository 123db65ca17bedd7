"""A slim record says what the whole one does, whatever its bytes; and so do the short ways to an attribute."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import attributes
from schemas.errors import UnreadableEvent
from schemas.events import DATA_OF, Event, Record, Unreadable
from schemas.wire import SLIM_WIDTH, decode, decode_slim, order_of_slim, slim
from tests.support.events import ENCODINGS, Rec, named, record

ATTRIBUTES = ["specversion", "id", "source", "type", "subject", "sequence", "time", "schemaversion"]
ODD = [None, b"", b"\xff", b"1", b"0", b"x" * 201, b"a\x00", b"1.0", b"2026-01-01T00:00:00Z", b"order.placed"]
MOMENTS = st.from_regex(
    r"[0-9]{4}-[01][0-9]-[0-3][0-9][Tt W][0-2][0-9]:?[0-6][0-9]:?[0-6][0-9]([.,][0-9]{0,8})?(Z|z|\+00:00|)",
    fullmatch=True,
)


def agreed(rec: Record) -> None:
    found = slim(rec)
    if found is None:
        return
    assert len(found) == SLIM_WIDTH
    whole, thin = decode(rec), decode_slim(found, rec)
    if isinstance(whole, Event):
        assert (thin, order_of_slim(found)) == (whole, whole.order_id)
    else:
        assert isinstance(whole, Unreadable)
        assert isinstance(thin, Unreadable)
        assert thin.why == whole.why


@pytest.mark.parametrize("type_", [*DATA_OF, "order.gift_wrapped"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_only_binary_mode_is_slim_and_it_says_the_same(encoding: Any, type_: str) -> None:
    rec = record(encoding, type_=type_)
    assert (slim(rec) is not None) is (encoding == "binary")
    agreed(rec)


def test_a_tombstone_and_what_says_that_it_is_structured_is_not_slim() -> None:
    rec = record("binary")
    assert slim(rec._replace(value=None)) is None
    both = (*rec.headers, ("content-type", b"application/cloudevents+json"))
    assert slim(rec._replace(headers=both)) is None
    agreed(rec._replace(value=b" " * (1024 * 1024 + 1)))


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from(ATTRIBUTES), st.sampled_from(ODD)), st.sampled_from([b"{}", b"null", b"x", None])
)
def test_odd_headers_are_read_alike(changed: dict[str, Any], value: bytes | None) -> None:
    rec = record("binary", attributes=named())
    heads = {**dict(rec.headers), **{f"ce_{name}": odd for name, odd in changed.items()}}
    agreed(Rec(key=rec.key, value=rec.value if value is None else value, headers=tuple(heads.items())))


@settings(max_examples=500, deadline=None)
@given(MOMENTS | st.text(max_size=25))
def test_a_time_in_a_header_is_read_as_one_in_json(text: str) -> None:
    alike(attributes.time, text)


@settings(max_examples=300, deadline=None)
@given(st.from_regex(r"[-+]?[0-9]{0,20}", fullmatch=True) | st.text(max_size=5))
def test_a_sequence_in_a_header_is_read_as_one_in_json(text: str) -> None:
    alike(attributes.sequence, text)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=5) | st.text(min_size=150, max_size=250))
def test_an_id_in_a_header_is_read_as_one_in_json(text: str) -> None:
    alike(lambda value: attributes.key("id", value), text)


def alike(read: Any, text: str) -> None:
    """Text goes the long way, bytes the short one where they can."""
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return
    assert _outcome(read, raw) == _outcome(read, text)


def _outcome(read: Any, value: Any) -> Any:
    try:
        return read(value)
    except UnreadableEvent as error:
        return error.why
