"""Times and numbers as people read them; the exact ones go beside them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

_NOW = 1.0  # seconds that are no difference to a person
_UNITS = ((86_400, "day", "days"), (3_600, "h", "h"), (60, "min", "min"), (1, "s", "s"))


def ago(moment: datetime, now: datetime) -> str:
    """`2 s ago`, `just now`, or, where clocks differ or a time lies ahead, `in 3 min`."""
    seconds = (now - moment).total_seconds()
    if abs(seconds) < _NOW:
        return "just now"
    return f"{_largest(seconds)} ago" if seconds > 0 else f"in {_largest(-seconds)}"


def span(value: float | timedelta) -> str:
    """A duration with what matters of it: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 days 4 h`."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if seconds < 10:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for (size, one, many), (below, short, _) in pairwise(_UNITS):
        if whole >= size:
            count, rest = whole // size, whole % size // below
            return f"{count} {one if count == 1 else many}" + (f" {rest} {short}" if rest else "")
    return f"{whole} s"


def brief(seconds: float) -> str:
    """A duration in its largest unit: `0.4 s`, `3 min`, `330 days`."""
    return span(seconds) if seconds < 10 else _largest(seconds)


def money(text: str) -> str:
    """An amount with two places, or as many as it needs."""
    whole, _, places = text.partition(".")
    return f"{whole}.{places.rstrip('0').ljust(2, '0')}"


def number(value: float) -> str:
    """`1,234`; what is below ten and not whole keeps a place."""
    return f"{value:,.1f}" if value % 1 and value < 10 else f"{value:,.0f}"


def counted(value: int, noun: str) -> str:
    """`1 letter`, `2 letters`."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def moment(value: datetime) -> str:
    """The exact time, for a title."""
    return f"{value.astimezone(UTC):%-d %b %Y, %H:%M:%S} UTC"


def clock(value: float) -> str:
    """Hours and minutes of seconds since 1970, in UTC."""
    return f"{datetime.fromtimestamp(value, UTC):%H:%M}"


def _largest(seconds: float) -> str:
    for size, one, many in _UNITS:
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {one if count == 1 else many}"
    return f"{seconds:.0f} s"
