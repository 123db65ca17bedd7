"""What a verification has found: how many rows each relation has, how many differ, and the first of those. Pure."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from consumer import reference
from consumer.reference import Difference
from consumer.verification.arrivals import BOOK_KEYS, Row

_EXAMPLES = 5  # of what is only told


@dataclass
class Check:
    """One relation. `own` says that what is expected came from its own code, for want of another; `sums`, that its rows
    are of many orders."""

    name: str
    own: bool = False
    sums: bool = False
    expected: int = 0
    found: int = 0
    differences: int = 0
    first: list[Difference] = field(default_factory=list)


@dataclass
class Aside:
    """Something that is no difference, but worth knowing: how often, and a few of them."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str) -> None:
        self.count += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(example)


@dataclass
class Findings:
    """All of it. `limit` is how many differences of a check are kept."""

    limit: int
    checks: dict[str, Check] = field(default_factory=dict)
    records: int = 0  # of the log
    upto: dict[str, int] = field(
        default_factory=dict
    )  # partition, as topic/number → the offset before which it was read
    only_in_database: Aside = field(default_factory=Aside)  # events
    erased_without_tombstone: Aside = field(default_factory=Aside)  # orders
    letters_without_record: Aside = field(default_factory=Aside)
    left_to_letters: Aside = field(default_factory=Aside)  # records
    not_checked: dict[str, str] = field(default_factory=dict)  # what, and why not

    @property
    def differences(self) -> int:
        return sum(check.differences for check in self.checks.values())

    def check(self, name: str, *, own: bool = False, sums: bool = False) -> Check:
        """Of that name; it is there from now on, though nothing may ever be compared for it."""
        return self.checks.setdefault(name, Check(name, own, sums))

    def equal(self, name: str, count: int) -> None:
        """So many rows of it are as they should be."""
        check = self.check(name)
        check.expected += count
        check.found += count

    def compare(self, name: str, expected: Sequence[Row], actual: Sequence[Row], key: Sequence[str] = ()) -> None:
        """Hold some rows of it against each other: all that have these keys, on both sides."""
        check = self.check(name)
        check.expected += len(expected)
        check.found += len(actual)
        keys = key or BOOK_KEYS.get(name) or reference.KEYS[name]
        differences = reference.compare(*_unequal(expected, actual, keys), keys, sys.maxsize)
        check.differences += len(differences)
        check.first += differences[: self.limit - len(check.first)]

    def differ(self, name: str, key: tuple[Any, ...], column: str | None, expected: object, found: object) -> None:
        """One value that isn't what it should be."""
        check = self.check(name)
        check.differences += 1
        if len(check.first) < self.limit:
            check.first.append(Difference(key, column, expected, found))


def _unequal(expected: Sequence[Row], actual: Sequence[Row], key: Sequence[str]) -> tuple[list[Row], list[Row]]:
    """Both sides without the rows that have an equal on the other: nearly all, and faster told than compared."""
    key_of = itemgetter(*key)
    there = {key_of(row): row for row in actual}
    if len(there) < len(actual):  # some key is there twice
        return list(expected), list(actual)
    unequal = []
    for row in expected:
        found = there.get(key_of(row))
        if found is not None and (
            found == row or all(column in found and found[column] == row[column] for column in row)
        ):
            del there[key_of(row)]
        else:
            unequal.append(row)
    return unequal, list(there.values())
