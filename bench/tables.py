"""Figures of several rounds as cells, and cells as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from statistics import median

Figures = Mapping[str, float]
Parts = Mapping[str, Sequence[Figures]]


def columns(runs: Sequence[Figures]) -> dict[str, list[float]]:
    """Each figure's values, round by round. Every round has the same figures."""
    return {name: [run[name] for run in runs] for name in runs[0]}


def ratios(parts: Parts, over: str, under: str, figure: str = "events_per_s") -> list[float]:
    """A figure of one part by another's, round by round: what was slow for one was slow for the other."""
    pairs = zip(parts.get(over, ()), parts.get(under, ()), strict=False)
    return [above[figure] / below[figure] for above, below in pairs]


def spread(values: Sequence[float], text: Callable[[float], str]) -> str:
    """The median, with the least and the greatest behind it if there are several."""
    if len(values) == 1:
        return text(values[0])
    return f"{text(median(values))} ({text(min(values))} – {text(max(values))})"


def whole(value: float) -> str:
    return f"{value:,.0f}"


def micro(value: float) -> str:
    return f"{value:,.1f}"


def two(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.2f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], words: Collection[int] = (0,)) -> str:
    """A Markdown table. `words`: the columns (from 0) that hold text; all others hold numbers."""
    rule = ["---" if place in words else "---:" for place in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))
