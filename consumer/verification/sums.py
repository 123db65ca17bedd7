"""Read models of sums, which no range of orders has whole: each range's share is set aside, and added up at the end.

Both sides are set aside by a hash of the key, so that no more than a part of either is in memory at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

from consumer import reference
from consumer.spill import Spill
from consumer.verification.arrivals import Row
from consumer.verification.findings import Findings
from consumer.verification.snapshot import Snapshot, relation


class Sums:
    """One read model's rows. `parts` is how many parts they are compared in; `table` is read instead of its view, and
    keeps sums by shard."""

    def __init__(self, directory: Path, name: str, key: Sequence[str], parts: int, *, table: str | None = None) -> None:
        self.name = name
        self._table = table
        self._key = tuple(key)
        self._parts = parts
        self._sides = []
        for side in ("expected", "found"):
            place = directory / f"{name}-{side}"
            place.mkdir()
            self._sides.append(Spill(place))

    def add(self, rows: Iterable[Row]) -> None:
        """A range's share of the rows; of ranges in byte order of their orders."""
        self._put(self._sides[0], rows)

    async def check(self, snapshot: Snapshot, findings: Findings) -> None:
        """Hold what was added against what readers see."""
        expected, found = self._sides
        async for row in snapshot.all_rows(self._table or relation(self.name)):
            self._put(found, [row])
        for part in range(self._parts):
            rows: Iterable[Row] = found.read(part) if self._table is None else merged(found.read(part), self._key)
            there = [row for row in rows if not _empty(row, self._key)]
            findings.compare(self.name, merged(expected.read(part), self._key), there, self._key)
            expected.forget(part)
            found.forget(part)

    def _put(self, side: Spill, rows: Iterable[Row]) -> None:
        for row in rows:
            side.add(hash(tuple(row[column] for column in self._key)) % self._parts, row)


def merged(shares: Iterable[Row], key: Sequence[str]) -> list[Row]:
    """One row a key: numbers added up, anything else from the newest order, among the newest from the last. Without
    rows whose every figure is zero: they may be there or not."""
    rows: dict[tuple[Any, ...], Row] = {}
    with localcontext(reference.EXACT):
        for share in shares:
            place = tuple(share[column] for column in key)
            row = rows.get(place)
            if row is None:
                rows[place] = dict(share)
                continue
            newer = "last_order_at" in share and share["last_order_at"] >= row["last_order_at"]
            for column in share.keys() - set(key):
                value = share[column]
                if isinstance(value, int | Decimal):
                    row[column] += value
                elif newer:
                    row[column] = value
    return [row for row in rows.values() if not _empty(row, key)]


def _empty(row: Row, key: Sequence[str]) -> bool:
    return not any(value for column, value in row.items() if column not in key)
