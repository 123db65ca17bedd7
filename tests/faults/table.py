"""The table of a fault suite's run, and the same as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from tests.faults.play import Played

_HEAD = ("fault", "runs", "times", "events", "redelivered", "again", "seconds to lag 0", "differences")


def table(played: Iterable[Played]) -> list[str]:
    """A line per fault; seconds are the longest of its runs. Below it: what each column counts."""
    rows = [_HEAD, *(tuple(map(str, line.values())) for line in lines(played))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return [
        "  ".join(_aligned(text, width, at) for at, (text, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]


def lines(played: Iterable[Played]) -> list[dict[str, Any]]:
    """The table's lines, by column."""
    ordered = sorted(played, key=lambda one: one.fault.id)
    return [_line([*runs]) for _, runs in groupby(ordered, key=lambda one: one.fault.id)]


def _line(runs: Sequence[Played]) -> dict[str, Any]:
    fault, evidence = runs[0].fault, Counter[str]()
    for one in runs:
        evidence += one.evidence
    values = (
        f"{fault.number:>2} {fault.name}",
        len(runs),
        f"{evidence[fault.shown_by[0]]} {fault.shown_by[0]}" if fault.shown_by else len(runs),
        sum(one.events for one in runs),
        sum(one.redelivered for one in runs),
        sum(one.again for one in runs),
        round(max(one.recovery for one in runs), 1),
        sum(len(one.differences) + len(one.wrong) for one in runs),
    )
    return dict(zip(_HEAD, values, strict=True))


def _aligned(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column == 0 else text.rjust(width)
