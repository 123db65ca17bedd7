"""Reading JSON exactly, and knowing what of it PostgreSQL's `jsonb` can't hold.

The fast readers (pydantic-core, orjson) turn numbers into binary floats and let NaN or NUL through; this is the
slow, exact reader behind them, used where the fast one stumbles or its input looks suspect.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from json.decoder import scanstring  # type: ignore[attr-defined]  # public in the module, not in typeshed
from typing import Any, NoReturn

import orjson

from schemas.errors import UnreadableEvent

# numeric's limits: digits before and after the decimal point (PostgreSQL documentation, 8.1).
_DIGITS_BEFORE, _DIGITS_AFTER = 131_072, 16_383

_MAX_DEPTH = 200  # the fast readers' limit; Python's own depends on how deep the stack is already

# A number can break those limits only with an exponent of five digits or by the sheer length of the text.
_DIGITS_AS_ZEROS = bytes.maketrans(b"123456789E", b"000000000e")
_BACKSLASH, _N, _I = b"\\NI"
_SURELY_SHORT = _DIGITS_AFTER - 9_999

_space = re.compile(r"[ \t\n\r]*").match


def exact(text: str) -> Any:
    """The JSON value with every number an int or a Decimal.

    Raises UnreadableEvent if it is not JSON, or holds what PostgreSQL can't: NUL, half a surrogate pair, a
    number beyond `numeric`.
    """
    value = _loads(text)
    # Only an escape can put such a character into a text, and only brackets make it deep.
    if "\\u" in text or text.count("[") + text.count("{") > _MAX_DEPTH:
        for found in _texts(value):
            if why := unstorable(found):
                raise UnreadableEvent(f"a text {why}")
    return value


def lenient(text: str) -> Any:
    """The same, but texts may hold what PostgreSQL can't: for members that nobody may ever look at."""
    value = _loads(text)
    for _ in _texts(value):
        pass  # for the depth
    return value


ESCAPES = b"\\u"  # all that may stand for a character by its number
NUL = b"\\u0000"  # of these, what pydantic's reader lets through though PostgreSQL can't hold it


def looks_suspect(raw: bytes, escapes: bytes = ESCAPES) -> bool:
    """Whether bytes that a fast reader took may still hold what `jsonb` refuses; then ask `exact`.

    `escapes`: NUL if it was pydantic's reader that took them, the whole of them. It refuses half a surrogate pair.
    """
    return len(raw) > _SURELY_SHORT or _holds_suspect(raw, escapes)


def _holds_suspect(raw: bytes, escapes: bytes) -> bool:
    # `bytes in bytes` raises and drops an exception before it looks, which costs 0.8 µs; a number in bytes doesn't.
    return (
        (_BACKSLASH in raw and raw.find(escapes) >= 0)
        or (_N in raw and raw.find(b"NaN") >= 0)
        or (_I in raw and raw.find(b"Infinity") >= 0)
        or raw.translate(_DIGITS_AS_ZEROS, b"+-").find(b"0e00000") >= 0
    )


def any_looks_suspect(raws: Sequence[bytes], escapes: bytes = ESCAPES) -> bool:
    """Whether one of them does, perhaps."""
    return max(map(len, raws)) > _SURELY_SHORT or _holds_suspect(b"\n".join(raws), escapes)


def unstorable(text: str) -> str | None:
    """Why PostgreSQL can't hold a text; None: it can."""
    if "\x00" in text:
        return "holds NUL (\\u0000), which PostgreSQL can't store"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "holds half a surrogate pair, which is no character"
    return None


def member_text(text: str, name: str) -> str | None:
    """The source text of one member of a JSON object, exactly as written; None if absent, the last if repeated.

    `text` has to be a valid JSON object. Cutting the text out keeps numbers as the producer wrote them (1.10),
    which no parse and print through floats would.
    """
    decoder = json.JSONDecoder(parse_float=str)
    found = None
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != "}":
        key, at = scanstring(text, at + 1, True)
        start = _skip(text, _skip(text, at) + 1)
        _, end = decoder.raw_decode(text, start)
        if key == name:
            found = text[start:end]
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def _skip(text: str, at: int) -> int:
    match = _space(text, at)
    assert match is not None
    return match.end()


def _decimal(text: str) -> Decimal:
    if len(text) <= _DIGITS_AFTER and "e" not in text and "E" not in text:
        return Decimal(text)
    try:
        number = Decimal(text)
    except InvalidOperation:  # beyond even what Decimal can hold
        raise UnreadableEvent("a number is beyond what PostgreSQL can hold") from None
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    if number.adjusted() >= _DIGITS_BEFORE or exponent < -_DIGITS_AFTER:
        raise UnreadableEvent("a number is beyond what PostgreSQL can hold")
    return number


def _not_json(name: str) -> NoReturn:
    raise UnreadableEvent(f"not JSON: {name} is no JSON value")


def _without_input(error: ValueError) -> str:
    """What is wrong and where, but never the text itself: it may be personal."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.removesuffix(' at')} at character {error.pos}"
    return "a number has too many digits"


_EXACT = json.JSONDecoder(parse_float=_decimal, parse_constant=_not_json)


def _loads(text: str) -> Any:
    try:
        return _EXACT.decode(text)
    except RecursionError:
        raise UnreadableEvent("the JSON is nested too deeply") from None
    except ValueError as error:
        raise UnreadableEvent(f"not JSON: {_without_input(error)}") from None


def _texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, names included. Raises UnreadableEvent if it is nested too deeply."""
    level = [value]
    for _ in range(_MAX_DEPTH + 1):
        inside: list[Any] = []
        for item in level:
            if isinstance(item, str):
                yield item
            elif isinstance(item, list):
                inside.extend(item)
            elif isinstance(item, dict):
                inside.extend(item)
                inside.extend(item.values())
        level = inside
    if level:
        raise UnreadableEvent("the JSON is nested too deeply")


def printed(value: Any) -> str:
    """JSON text of what was read, without blanks."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # orjson refuses integers beyond 64 bits; a quantity may be one
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
