"""Tokens and entity tags: what a client can bring back, and what it can't make."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import etags
from api.etags import OrderTag
from api.tokens import InvalidToken, Signer, WriteToken

SIGNER = Signer(b"k" * 32)


@given(st.text(min_size=1, max_size=200).filter(lambda text: text.isprintable()), st.integers(1, 2**63 - 1))
def test_a_token_comes_back_as_it_was(order_id: str, version: int) -> None:
    token = SIGNER.write_token(order_id, version)
    assert token.isascii()
    assert SIGNER.read_write_token(token) == WriteToken(order_id, version)


@given(st.integers(0, 10_000))
def test_a_changed_token_is_none(place: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(SIGNER.write_token("o-1", 7) + "=="))
    raw[place % len(raw)] ^= 1 + place % 255
    with pytest.raises(InvalidToken):
        SIGNER.read_write_token(base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("="))


@given(st.text(max_size=300))
def test_whatever_comes_is_read_or_refused(text: str) -> None:
    with pytest.raises(InvalidToken):
        SIGNER.read_write_token(text)


def test_anothers_token_and_a_token_for_something_else_are_none() -> None:
    for token in (Signer(b"x" * 32).write_token("o-1", 1), SIGNER.cursor("orders", ["o-1"])):
        with pytest.raises(InvalidToken):
            SIGNER.read_write_token(token)
    with pytest.raises(InvalidToken):
        SIGNER.read_cursor("orders", SIGNER.cursor("others", ["o-1"]))
    assert SIGNER.read_cursor("orders", SIGNER.cursor("orders", ["o-1", None])) == ["o-1", None]


@pytest.mark.parametrize(
    ("header", "same"),
    [
        ('"1.2"', True), ('W/"1.2"', True), ('"1.3", "1.2"', True), ("*", True), (' "1.2" ', True),
        ('"2.2"', False), ("1.2", False), ("", False), ('"1.2', False),
    ],
)  # fmt: skip
def test_if_none_match(header: str, same: bool) -> None:
    assert etags.unchanged(header, OrderTag(1, 2)) == same


@pytest.mark.parametrize(
    ("header", "versions"),
    [
        ('"1.2"', {2}), ('"1.2", "7.3"', {2, 3}), ('W/"1.2"', set()), ("*", None), ("garbage", set()),
        ('"other"', set()), ('"1.2" "1.3"', set()),
    ],
)  # fmt: skip
def test_if_match(header: str, versions: set[int] | None) -> None:
    assert etags.expected_versions(header) == versions


@given(st.text(max_size=50))
def test_any_header_is_read(header: str) -> None:
    etags.parsed(header)
