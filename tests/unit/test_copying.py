"""Rows as COPY's text: whatever they hold, PostgreSQL's own reading of it gives them back."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from runtime.copying import as_copy_text

NULL = "\x1e"

# All that COPY's text format knows (PostgreSQL documentation, COPY, "Text Format").
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{1,2})|([0-7]{1,3})|(.))", re.DOTALL)

# Text that PostgreSQL can hold: no NUL, no lone surrogate.
_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
_NASTY = st.text(st.sampled_from("\\.Ntxn\t\n\r\v\f\b\x1e\x1f\x7f01a \"'ø山"), max_size=8)


def rows(texts: st.SearchStrategy[str]) -> st.SearchStrategy[list[list[str | None]]]:
    def of_width(width: int) -> st.SearchStrategy[list[list[str | None]]]:
        return st.lists(st.lists(st.none() | texts, min_size=width, max_size=width), min_size=1, max_size=6)

    return st.integers(1, 4).flatmap(of_width)


def read(text: str) -> list[list[str | None]]:
    """What PostgreSQL reads with NULL '\x1e': lines and columns first, then nulls, then escapes."""
    lines = text.split("\n")
    assert lines.pop() == ""
    assert "\r" not in text
    assert "\\." not in lines
    return [[None if cell == NULL else _ESCAPE.sub(_meant, cell) for cell in line.split("\t")] for line in lines]


def copied(rows: list[list[str | None]]) -> str:
    return as_copy_text(list(zip(*rows, strict=True)))


def _meant(escape: re.Match[str]) -> str:
    hexadecimal, octal, letter = escape.groups()
    if hexadecimal or octal:
        return chr(int(hexadecimal, 16) if hexadecimal else int(octal, 8))
    return _ESCAPED.get(letter, letter)


@given(rows(_NASTY) | rows(_TEXT))
@example([[None]])
@example([[""]])
@example([[NULL]])
@example([[NULL, None], ["a", "b"]])
@example([["\\."]])
@example([["\\N", "\\x1e"], [NULL, None]])
@example([["a\tb"], ["c"]])
@example([["a\nb", "c\td"]])
@example([[NULL + "a", None], ["a" + NULL, "b"]])
def test_what_goes_in_comes_out(given_rows: list[list[str | None]]) -> None:
    assert read(copied(given_rows)) == given_rows


@given(
    st.lists(st.lists(st.none() | st.text("abc ø山'\"{},", max_size=5), min_size=2, max_size=2), min_size=1, max_size=5)
)
def test_plain_texts_are_written_as_they_are(plain: list[list[str | None]]) -> None:
    assert copied(plain) == "".join("\t".join(NULL if cell is None else cell for cell in row) + "\n" for row in plain)


def test_a_tab_and_a_line_that_lack_elsewhere_do_not_hide_each_other() -> None:
    wide: list[list[str | None]] = [["a\t", "b"], ["c", "d"]]
    assert read(copied(wide)) == wide
    tall: list[list[str | None]] = [["a\nb", NULL], ["c", None]]
    assert read(copied(tall)) == tall
