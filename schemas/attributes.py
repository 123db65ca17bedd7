"""The attributes of an event, checked: CloudEvents 1.0's, by the rules of CONTRACT 1.

Each takes what an encoding found (None: nothing) and returns the checked value or raises UnreadableEvent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from schemas import json_text
from schemas.errors import UnreadableEvent
from schemas.events import MAX_KEY

_MAX_SEQUENCE = 2**63 - 1
_REMEMBERED = 1_024  # values of an attribute that has few: types, sources
_MAX_SOURCE = 2_000  # characters: it is a key in PostgreSQL too

# RFC 3339's date-time: `t`, `z` and a space for `T` are allowed by its section 5.6.
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ](?:[01][0-9]|2[0-3]):[0-9]{2}:([0-9]{2})(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-5][0-9])"
).fullmatch
# What nearly all producers write of it. Read in half the time.
_USUAL_TIME = re.compile(
    rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-5][0-9])"
).fullmatch
_not_in_uri = re.compile(r"[\x00-\x20\x7f]").search


def key(name: str, value: Any) -> str:
    """A non-empty text of at most 200 characters: `id`, and `subject`, the order's id."""
    if type(value) is bytes and 0 < len(value) <= MAX_KEY and 0 not in value:
        try:
            return value.decode()  # all that is asked below, since bytes are no fewer than characters
        except UnicodeDecodeError:
            pass
    text = _text(name, value)
    if len(text) > MAX_KEY:
        raise UnreadableEvent(f"{name}: {len(text)} characters, at most {MAX_KEY} are allowed")
    return text


def keys(column: Sequence[Any]) -> list[str] | None:
    """`key` of bytes, of all of them at once; None if one of them isn't as usual, and has to be read by itself."""
    try:
        joined = b"\n".join(column)
        text = joined.decode()
    except (TypeError, UnicodeDecodeError):
        return None
    lengths = [*map(len, column)]
    if min(lengths) < 1 or max(lengths) > MAX_KEY or 0 in joined or joined.count(b"\n") >= len(column):
        return None
    return text.split("\n")


def event_type(value: Any) -> str:
    return _known_type(value) if isinstance(value, bytes | str) else key("type", value)


def source(value: Any) -> str:
    return _known_source(value) if isinstance(value, bytes | str) else _source(value)


def _source(value: Any) -> str:
    text = _text("source", value)
    if len(text.encode()) > _MAX_SOURCE or _not_in_uri(text):
        raise UnreadableEvent("source: not a URI reference, or longer than 2,000 bytes")
    return text


_known_type = lru_cache(_REMEMBERED)(lambda value: key("type", value))
_known_source = lru_cache(_REMEMBERED)(_source)


def time(value: Any) -> datetime:
    """RFC 3339 with an offset, as UTC; digits beyond the microsecond are cut off, a leap second is the next one."""
    if type(value) is bytes and _USUAL_TIME(value):
        try:
            return _in_utc(datetime.fromisoformat(value.decode()))
        except (ValueError, OverflowError):
            pass  # no such moment: said below
    text = _text("time", value)
    match = _RFC3339(text)
    if match is None:
        raise UnreadableEvent("time: not RFC 3339 with an offset, like 2026-11-23T09:30:00Z")
    leap = match[1] == "60"
    if leap:
        text = f"{text[:17]}59{text[19:]}"
    try:
        moment = datetime.fromisoformat(text if match[3] == "Z" else text.upper())
        return _in_utc(moment) + timedelta(seconds=1) if leap else _in_utc(moment)
    except (ValueError, OverflowError):
        raise UnreadableEvent("time: no such moment") from None


def times(column: Sequence[Any]) -> list[datetime] | None:
    """`time` of bytes, as `keys` reads them."""
    try:
        if all(map(_USUAL_TIME, column)):
            moments = map(datetime.fromisoformat, b"\n".join(column).decode().split("\n"))
            return [moment if moment.tzinfo is UTC else _in_utc(moment) for moment in moments]
    except (TypeError, ValueError, OverflowError):
        pass
    return None


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)


def sequence(value: Any) -> int:
    if type(value) is bytes and len(value) < 19 and value.isdigit() and (plain := int(value)):
        return plain  # all that is asked below
    number = _integer("sequence", value)
    if not 1 <= number <= _MAX_SEQUENCE:
        raise UnreadableEvent("sequence: not from 1 to 2^63-1")
    return number


def sequences(column: Sequence[Any]) -> list[int] | None:
    """`sequence` of bytes, as `keys` reads them."""
    try:
        if all(map(bytes.isdigit, column)) and max(map(len, column)) < 19:
            numbers = [*map(int, column)]
            return numbers if min(numbers) else None
    except TypeError:
        pass
    return None


def schemaversion(value: Any) -> int:
    """1 if absent. A version newer than ours is taken as it is: see schemas.upcasts."""
    number = 1 if value is None else _integer("schemaversion", value)
    if number < 0:
        raise UnreadableEvent("schemaversion: below 0")
    return number


def specversion(value: Any) -> None:
    if _text("specversion", value) != "1.0":
        raise UnreadableEvent("specversion: only CloudEvents 1.0 is read")


def _text(name: str, value: Any) -> str:
    if value is None:
        raise UnreadableEvent(f"{name} is missing")
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise UnreadableEvent(f"{name}: not UTF-8") from None
    if not isinstance(value, str):
        raise UnreadableEvent(f"{name}: not a text")
    if not value:
        raise UnreadableEvent(f"{name} is empty")
    if why := json_text.unstorable(value):
        raise UnreadableEvent(f"{name}: {why}")
    return value


def _integer(name: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = _text(name, value)
    # 40 digits are far beyond 2^63 already; int() of very many is slow, then refused.
    if not (text.isascii() and text.isdigit()) or len(text) > 40:
        raise UnreadableEvent(f"{name}: not an integer")
    return int(text)
