"""What a mutant is."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """What is broken: in `file`, `old` becomes `new`; `tests` are those that have to notice.

    `hangs`: that they never end is how it shows; of any other mutant it shows nothing.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    hangs: bool = False
