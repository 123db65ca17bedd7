"""Items that are too many for memory, set aside in private files by range of order ids, and read back range by range.

Files belong to one run on one machine: they are pickled, in a directory that nobody else can enter, and gone with it.
"""

from __future__ import annotations

import pickle
import shutil
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import IO, Any

MEMORY = 50_000  # weights of the items that one Spill holds before it writes: items, unless told otherwise

_SAMPLE = 4_096  # order ids looked at to cut a range that has grown too large
_SUFFIX = "spill"


class Ranges:
    """All order ids, cut at `bounds`. In byte order, which is PostgreSQL's "C" and Python's own order of text."""

    def __init__(self, bounds: Iterable[str] = ()) -> None:
        self._starts = sorted({"", *bounds})

    def __len__(self) -> int:
        return len(self._starts)

    def of(self, order_id: str) -> int:
        """The number of the range that an order belongs to."""
        return bisect_right(self._starts, order_id) - 1

    def span(self, number: int) -> tuple[str, str | None]:
        """Its first order id, and the one before which it ends (None: it is the last)."""
        end = self._starts[number + 1] if number + 1 < len(self._starts) else None
        return self._starts[number], end


@contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A directory that only this user can enter (where TMPDIR says), gone with all that is in it at the end."""
    directory = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class Spill:
    """Items by place (a range's number, or any other small number), in files of `directory`.

    Several may write into one directory, also in several processes, each under its own `writer` number: who reads a
    place gets the items of all that have flushed, writer by writer, each writer's in the order in which they were
    added. `memory` bounds the sum of the weights of what is not written yet.
    """

    def __init__(self, directory: Path, writer: int = 0, memory: int = MEMORY) -> None:
        self._directory = directory
        self._writer = writer
        self._memory = memory
        self._held: dict[int, list[Any]] = {}
        self._weight = 0
        self._counts: dict[int, int] = {}

    def add(self, place: int, item: Any, weight: int = 1) -> None:
        """Set an item aside. Not to be changed afterwards."""
        self._held.setdefault(place, []).append(item)
        self._weight += weight
        if self._weight >= self._memory:
            self.flush()

    def flush(self) -> None:
        """Write what is held: for other readers than this object."""
        for place, items in self._held.items():
            with self._file(place).open("ab") as file:
                _write(items, file)
            self._counts[place] = self._counts.get(place, 0) + len(items)
        self._held.clear()
        self._weight = 0

    def count(self, place: int) -> int:
        """How many items this writer has put there."""
        return self._counts.get(place, 0) + len(self._held.get(place, ()))

    def size(self, place: int) -> int:
        """How many bytes lie there, of all writers."""
        return sum(path.stat().st_size for path in self._directory.glob(f"{place}-*.{_SUFFIX}"))

    def read(self, place: int) -> Iterator[Any]:
        """All items of a place, at most `memory` of them in memory at once."""
        self.flush()
        for path in sorted(self._directory.glob(f"{place}-*.{_SUFFIX}"), key=_writer_of):
            yield from _items(path)

    def forget(self, place: int) -> None:
        """Its items have been read for the last time: free the disk."""
        for path in self._directory.glob(f"{place}-*.{_SUFFIX}"):
            path.unlink()
        self._held.pop(place, None)
        self._counts.pop(place, None)

    def _file(self, place: int) -> Path:
        return self._directory / f"{place}-{self._writer}.{_SUFFIX}"


def pieces(
    spill: Spill,
    place: int,
    span: tuple[str, str | None],
    order_of: Callable[[Any], str],
    most: int,
    total: int | None = None,
) -> Iterator[tuple[tuple[str, str | None], list[Any]]]:
    """A place's items with the span of order ids that they are of: all at once if they are at most `most`, else piece
    by piece, cut by a look at the ids. An order is never cut, however many items it has. `total`: how many items there
    are, where others than this object have written them."""
    there = spill.count(place) if total is None else total
    bounds = _bounds(map(order_of, spill.read(place)), there, most) if there > most else []
    ranges = Ranges(bound for bound in bounds if bound > span[0])
    if len(ranges) == 1:
        yield span, list(spill.read(place))
        return
    with scratch("projector-pieces-") as directory:
        finer = Spill(directory)
        for item in spill.read(place):
            finer.add(ranges.of(order_of(item)), item)
        for number in range(len(ranges)):
            first, end = ranges.span(number)
            yield from pieces(finer, number, (first or span[0], end or span[1]), order_of, most)
            finer.forget(number)


def _bounds(order_ids: Iterable[str], total: int, most: int) -> Sequence[str]:
    """Ids that cut so many items into parts of about `most`, by a sample drawn evenly from all of them."""
    rng = Random(total)  # noqa: S311 - any sample does
    sample: list[str] = []
    for number, order_id in zip(count(1), order_ids, strict=False):
        if len(sample) < _SAMPLE:
            sample.append(order_id)
        elif (at := rng.randrange(number)) < _SAMPLE:
            sample[at] = order_id
    sample.sort()
    parts = min(-(-total // most), len(sample))
    return [sample[len(sample) * part // parts] for part in range(1, parts)]


def _write(items: Sequence[Any], file: IO[bytes]) -> None:
    """Tuples of one width go column by column, without a tuple each, and without pickle's memo of what it has written:
    to keep that took most of the time (4.7 of 5.9 µs for a record)."""
    pickler = pickle.Pickler(file, pickle.HIGHEST_PROTOCOL)
    width = len(items[0]) if type(items[0]) is tuple else 0
    by_column = width > 0 and all(type(item) is tuple and len(item) == width for item in items)
    pickler.fast = by_column
    pickler.dump(([*zip(*items, strict=True)] if by_column else items, by_column))


def _items(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        while True:
            try:
                items, by_column = pickle.load(file)  # noqa: S301  our own file, and nobody else can enter its directory
            except EOFError:
                return
            yield from zip(*items, strict=True) if by_column else items


def _writer_of(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])
