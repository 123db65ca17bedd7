"""In which order an order's records came. Pure.

Within a partition that is known. Across partitions, and for what came beside them (a writer of its own, a letter that
was retried), nobody knows it but live, whose choice then decides: any order of arrival that explains it will do. It
matters only between rivals: events for one version, and events of one identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush, merge

from consumer.verification.arrivals import Arrival, Identity

# Where live has it: an event that was refused came before the one that took its version, a conflict came after it.
REFUSED, TAKEN, OTHER = 0, 1, 2

Rank = Callable[[Arrival], int]


def merged(arrivals: Sequence[Arrival]) -> list[Arrival]:
    """One sequence that keeps each partition's order, by Kafka's times as far as that lets; what came beside the
    partitions comes last. Each partition's arrivals have to be in order."""
    lanes: dict[tuple[str, int], list[Arrival]] = {}
    for one in arrivals:
        lanes.setdefault(one.place[:2], []).append(one)
    beside = lanes.pop(("", -1), [])
    if len(lanes) == 1:
        return [*next(iter(lanes.values())), *beside]
    return [*merge(*lanes.values(), key=lambda one: (one.timestamp, one.place)), *beside]


def as_live(arrivals: Sequence[Arrival], rank: Rank) -> list[Arrival]:
    """The sequence with rivals in the order that live has chosen, as far as their partitions leave it a choice."""
    return _Choice(_once_a_lane(arrivals), rank).made()


def varies(arrivals: Sequence[Arrival]) -> bool:
    """Whether one identity came with more than one content, of which only the first counts."""
    contents: dict[object, object] = {}
    return any(contents.setdefault(one.said.identity, one.said) != one.said for one in arrivals if one.said is not None)


def by_version(arrivals: Sequence[Arrival]) -> list[Arrival]:
    """The sequence with lower versions first, where that changes nothing: unless one identity has several versions,
    only the order of events for one version matters. Long queues of waiting events are never built then."""
    versions: dict[tuple[str, str], int] = {}
    for one in arrivals:
        if one.said is not None and versions.setdefault(one.said.identity, one.said.version) != one.said.version:
            return list(arrivals)
    return sorted(arrivals, key=lambda one: 0 if one.said is None else one.said.version)


def _once_a_lane(arrivals: Sequence[Arrival]) -> list[Arrival]:
    """Without exact copies that came later through the same partition: nothing can follow from them."""
    seen = set()
    found = []
    for one in arrivals:
        what = (one.lane, one.kind, one.said)
        if one.said is None or one.note is not None or what not in seen:
            found.append(one)
        seen.add(what)
    return found


class _Choice:
    """Takes the first arrival of any partition that may come now, again and again. One may come once the identity is
    there that has to be there before; which copy of it that was, through which partition, is all the same."""

    def __init__(self, arrivals: Sequence[Arrival], rank: Rank) -> None:
        self._arrivals = arrivals
        self._ranks = [rank(one) for one in arrivals]
        self._there: set[Identity] = set()
        self._blocked: dict[Identity, list[int]] = {}  # places, by the identity that they wait for
        self._after: dict[int, int] = {}  # the next in its partition
        self._refused: dict[int, set[Identity]] = {}  # by version
        self._taken: dict[int, Identity] = {}  # by version
        self._winners: set[Identity] = set()
        self._heads: list[int] = []
        last: dict[tuple[str, int], int] = {}
        for place, one in enumerate(arrivals):
            if one.lane in last:
                self._after[last[one.lane]] = place
            else:
                self._heads.append(place)  # sorted, so a heap
            if one.lane is not None:
                last[one.lane] = place
            if one.said is not None and self._ranks[place] == REFUSED:
                self._refused.setdefault(one.said.version, set()).add(one.said.identity)
            if one.said is not None and self._ranks[place] == TAKEN:
                self._taken.setdefault(one.said.version, one.said.identity)
                self._winners.add(one.said.identity)

    def made(self) -> list[Arrival]:
        """All of them, in the order in which they may have come."""
        order: list[int] = []
        while len(order) < len(self._arrivals):
            # If none may come, live can't have come by what it has: any way of going on shows that.
            forced = not self._heads
            place = self._unblocked() if forced else heappop(self._heads)
            if not forced and (needed := self._needs(place)) is not None:
                self._blocked.setdefault(needed, []).append(place)
                continue
            order.append(place)
            self._come(place)
        return [self._arrivals[place] for place in order]

    def _needs(self, place: int) -> Identity | None:
        """An identity that has to be there before this one comes, and isn't."""
        said = self._arrivals[place].said
        if said is None or said.identity in self._there:
            return None
        needed: Iterable[Identity | None] = ()
        if self._ranks[place] == TAKEN:
            needed = self._refused.get(said.version, ())
        elif self._ranks[place] == OTHER:
            needed = (said.identity if said.identity in self._winners else self._taken.get(said.version),)
        return next((one for one in needed if one is not None and one not in self._there), None)

    def _come(self, place: int) -> None:
        said = self._arrivals[place].said
        if said is not None:
            self._there.add(said.identity)
            for waiting in self._blocked.pop(said.identity, ()):
                heappush(self._heads, waiting)
        if place in self._after:
            heappush(self._heads, self._after[place])

    def _unblocked(self) -> int:
        first = min(self._blocked, key=lambda identity: min(self._blocked[identity]))
        places = self._blocked[first]
        place = min(places)
        places.remove(place)
        if not places:
            del self._blocked[first]
        return place
