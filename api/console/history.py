"""How it was over the last minutes: a sample a second of lag, staleness and what was applied, in bounded memory. Pure.

A page that is opened shows the past too. What nobody knew (Kafka or PostgreSQL was away) is a gap, never a zero.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

LENGTH = 900  # samples: a quarter of an hour
MOST = 48  # partitions that are remembered one by one; all of them count in the sums
_WINDOW = 5.0  # seconds over which a rate is taken: batches come in lumps
_APART = 15.0  # seconds that two looks may be apart, where looking takes long, for a rate to be taken at all

Place = tuple[str, int]


class Stand(NamedTuple):
    """A partition at one moment."""

    place: Place
    lag: int
    staleness: float
    next_offset: int


class Sample(NamedTuple):
    """One moment. The sums are None where nobody knew; arrays are by number of the place, and may be shorter."""

    at: float  # seconds since 1970
    lag: int | None = None
    staleness: float | None = None
    rate: float | None = None
    applied: int = 0  # the sum of the offsets up to which partitions are applied
    partitions: int = 0
    lags: array[float] = array("d")
    stalenesses: array[float] = array("d")
    offsets: array[float] = array("d")


class Minute(NamedTuple):
    """A minute in words' reach: the worst of it, and what was applied a second."""

    at: float
    lag: int
    staleness: float
    rate: float


class History:
    """The last samples, the oldest first."""

    def __init__(self, length: int = LENGTH, most: int = MOST) -> None:
        self._samples: deque[Sample] = deque(maxlen=length)
        self._numbers: dict[Place, int] = {}
        self._most = most

    @property
    def places(self) -> list[Place]:
        """The partitions that are remembered one by one, by number."""
        return list(self._numbers)

    def number(self, place: Place) -> int | None:
        """Of a partition, for as long as the process lives: its line's colour goes by it."""
        return self._numbers.get(place)

    def add(self, at: float, stands: Sequence[Stand]) -> None:
        """One more look."""
        for one in sorted(stands):
            if len(self._numbers) < self._most:
                self._numbers.setdefault(one.place, len(self._numbers))
        lags, stalenesses, offsets = (array("d", [math.nan] * len(self._numbers)) for _ in range(3))
        for one in stands:
            number = self._numbers.get(one.place)
            if number is not None:
                lags[number], stalenesses[number], offsets[number] = one.lag, one.staleness, one.next_offset
        applied = sum(one.next_offset for one in stands)
        self._samples.append(
            Sample(
                at,
                sum(one.lag for one in stands),
                max((one.staleness for one in stands), default=0.0),
                self._rate(at, applied, len(stands)),
                applied,
                len(stands),
                lags,
                stalenesses,
                offsets,
            )
        )

    def unknown(self, at: float) -> None:
        """A look that saw nothing."""
        self._samples.append(Sample(at))

    def last(self) -> Sample | None:
        """The newest sample."""
        return self._samples[-1] if self._samples else None

    def rates(self) -> dict[Place, float]:
        """What was applied a second lately, by partition."""
        now = self.last()
        then = None if now is None else self._before(now.at)
        if now is None or then is None:
            return {}
        seconds = now.at - then.at
        pairs = zip(self._numbers, now.offsets, then.offsets, strict=False)
        return {place: max(0.0, new - old) / seconds for place, new, old in pairs if not math.isnan(new - old)}

    def still(self, place: Place) -> float:
        """For how many seconds a partition has stood where it stands, as far as is known."""
        number, now = self._numbers.get(place), self.last()
        since = None if now is None else now.at
        if number is None or now is None or since is None or now.lag is None:
            return 0.0
        for one in reversed(self._samples):
            if one.lag is None or number >= len(one.offsets) or one.offsets[number] != now.offsets[number]:
                break
            since = one.at
        return now.at - since

    def most_rate(self) -> float:
        """The most that was applied a second."""
        return max((one.rate or 0.0 for one in self._samples), default=0.0)

    def columns(self, after: float = 0.0) -> dict[str, Any]:
        """What is newer than `after`, as what draws it wants it: a list per line, None where there is a gap."""
        samples = [one for one in self._samples if one.at > after]
        numbers = range(len(self._numbers))
        return {
            "places": [f"{topic}/{partition}" for topic, partition in self._numbers],
            "at": [one.at for one in samples],
            "lag": [one.lag for one in samples],
            "staleness": [_rounded(one.staleness) for one in samples],
            "rate": [_rounded(one.rate) for one in samples],
            "lags": [[_at(one.lags, number) for one in samples] for number in numbers],
            "stalenesses": [[_at(one.stalenesses, number) for one in samples] for number in numbers],
        }

    def minutes(self) -> list[Minute]:
        """By the minute, the newest first; of a minute in which nobody knew anything nothing is told."""
        found: dict[int, list[Sample]] = {}
        for one in self._samples:
            if one.lag is not None:
                found.setdefault(int(one.at // 60), []).append(one)
        return [_minute(minute, theirs) for minute, theirs in sorted(found.items(), reverse=True)]

    def _rate(self, at: float, applied: int, partitions: int) -> float | None:
        """None where there is nothing to compare with, or where other partitions were looked at."""
        then = self._before(at)
        if then is None or then.partitions != partitions:
            return None
        return max(0.0, (applied - then.applied) / (at - then.at))

    def _before(self, at: float) -> Sample | None:
        """The sample to hold one of this moment against: the oldest of the window, or else the one before it. None
        beyond a gap."""
        found = None
        for one in reversed(self._samples):
            if one.lag is None or at - one.at > (_APART if found is None else _WINDOW):
                break
            if one.at < at:
                found = one
        return found


def _minute(minute: int, samples: Sequence[Sample]) -> Minute:
    rates = [one.rate for one in samples if one.rate is not None]
    return Minute(
        minute * 60.0,
        max(one.lag or 0 for one in samples),
        max(one.staleness or 0.0 for one in samples),
        sum(rates) / len(rates) if rates else 0.0,
    )


def _at(values: array[float], number: int) -> float | None:
    if number >= len(values) or math.isnan(values[number]):
        return None
    return _rounded(values[number])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
