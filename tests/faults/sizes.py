"""Whether workers hold more after many faults than before the first: memory, descriptors, connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from tests.faults.gauges import Size

MEBIBYTE = 2**20


@dataclass(frozen=True)
class Kind:
    """Something that a worker holds, and how much more of it is no leak."""

    name: str
    of: Callable[[Size], float]
    factor: float
    more: float


KINDS = (
    Kind("memory of a worker, MiB", lambda size: size.memory / MEBIBYTE, 1.25, 32),
    Kind("descriptors of a worker", lambda size: size.descriptors, 1, 6),
    Kind("connections of a worker", lambda size: size.connections, 1, 4),  # a pool keeps some that it has no use for
)


@dataclass(frozen=True)
class Held:
    """One kind: in the calm before, in the calm after, and the most there was."""

    kind: Kind
    before: float
    after: float
    most: float

    @property
    def grown(self) -> bool:
        return self.after > self.before * self.kind.factor + self.kind.more

    def __str__(self) -> str:
        end = ": that is a leak" if self.grown else ""
        return f"{self.kind.name}: {self.before:,.0f} before, {self.after:,.0f} after, {self.most:,.0f} at most{end}"


def held(sizes: Iterable[Size], before: tuple[float, float], after: tuple[float, float]) -> list[Held]:
    """All kinds, of the worker that held most; `before` and `after` are times from and to."""
    known = [*sizes]
    return [
        Held(kind, _usual(kind, known, before), _usual(kind, known, after), max(map(kind.of, known))) for kind in KINDS
    ]


def _usual(kind: Kind, sizes: list[Size], during: tuple[float, float]) -> float:
    """The median of each worker, the largest of them."""
    by_worker: dict[int, list[float]] = {}
    for size in sizes:
        if during[0] <= size.at <= during[1]:
            by_worker.setdefault(size.pid, []).append(kind.of(size))
    return max(median(values) for values in by_worker.values())
