"""Packing columns of text: whatever the texts hold, the marks are told from them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.packing import pack

_TEXTS = st.text(alphabet=st.sampled_from("ab\x1e\x1f01"), max_size=6)


def split(column: str, separator: str, null: str) -> list[str | None]:
    """What PostgreSQL's (string_to_array(column, separator, null))[2:] gives."""
    return [None if text == null else text for text in column.split(separator)[1:]]


@given(st.lists(st.lists(st.none() | _TEXTS, min_size=1, max_size=8), min_size=1, max_size=4))
def test_what_is_packed_comes_out_as_it_was(columns: list[list[str | None]]) -> None:
    packed = pack(columns)
    assert [split(column, packed.separator, packed.null) for column in packed.columns] == columns


def test_text_without_control_characters_is_packed_with_ascii_separators() -> None:
    assert pack([["a", None, ""]]) == ("\x1f", "\x1e", ["\x1fa\x1f\x1e\x1f"])
