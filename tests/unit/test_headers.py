"""Headers as JSON and back."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.headers import from_json, to_json

Pairs = list[tuple[str, bytes | None]]

names = st.sampled_from(["a", "b", "base64:", "base64:YQ==", "\x00", ""]) | st.text(max_size=4)
some = (
    st.none() | st.binary(max_size=6) | st.text(max_size=4).map(str.encode) | st.sampled_from([b"null", b"{}", b"[1]"])
)
headers = st.lists(st.tuples(names, some), max_size=8)


def by_name(pairs: Pairs | tuple[tuple[str, bytes | None], ...]) -> dict[str, list[bytes | None]]:
    found: dict[str, list[bytes | None]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


@given(headers)
@example([("a", b"1"), ("b", None), ("a", None), ("a", b"\xff")])
def test_nothing_is_lost_and_repeated_names_keep_their_order(pairs: Pairs) -> None:
    assert by_name(from_json(to_json(pairs))) == by_name(pairs)


@given(headers)
def test_postgresql_can_hold_the_json(pairs: Pairs) -> None:
    text = to_json(pairs)
    assert isinstance(json.loads(text), dict)
    assert "\\u0000" not in text.replace("\\\\", "")
    text.encode()


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        ([], "{}"),
        ([("ce_id", b"e-1")], '{"ce_id":"e-1"}'),
        ([("x", None)], '{"x":null}'),
        ([("x", b"\xff")], '{"x":{"base64":"/w=="}}'),
        ([("x", b"a\x00")], '{"x":{"base64":"YQA="}}'),
        ([("x", b"1"), ("y", b"2"), ("x", b"3")], '{"x":["1","3"],"y":"2"}'),
        ([("n\x00", b"1")], '{"base64:bgA=":"1"}'),
    ],
)
def test_people_read_text_where_there_is_text(pairs: Pairs, text: str) -> None:
    assert to_json(pairs) == text
