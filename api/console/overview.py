"""The first page's figures, worked out of the last look: what stands where, who does it, and how good that is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from api.console.history import History, Minute, Place
from api.console.words import span
from consumer.freshness import PartitionStatus, Status

_STILL = 30.0  # seconds without a record applied after which a partition that is behind counts as standing still

State = Literal["fresh", "behind", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """The page in a sentence."""

    state: State
    title: str
    detail: str


@dataclass(frozen=True)
class PartitionRow:
    """A partition; `number` is that of its line in the charts."""

    of: PartitionStatus
    number: int | None
    rate: float | None
    state: Literal["caught up", "catching up", "waiting", "standing still"]


@dataclass(frozen=True)
class WorkerRow:
    """What one worker holds, and does."""

    name: str
    partitions: int
    lag: int
    rate: float | None
    updated_at: datetime | None


@dataclass(frozen=True)
class Trend:
    """The charts in words: where things are, and the worst of the minutes that are remembered."""

    rate: float | None
    most_lag: int
    most_staleness: float
    most_rate: float
    minutes: Sequence[Minute]


@dataclass(frozen=True)
class RebuildRow:
    """A rebuild and how far it is; `share` is of its events, None where nobody knows. `left` is in seconds."""

    of: Mapping[str, Any]
    running: bool
    share: float | None
    rate: float | None
    left: float | None


def verdict(status: Status | None, objective: float) -> Verdict:
    """How good it is what readers see."""
    if status is None:
        return Verdict(
            "unknown",
            "Nobody knows how fresh it is",
            "Kafka or PostgreSQL does not answer. What was applied stands, and is read where PostgreSQL answers.",
        )
    aim = f"The objective is {span(objective)}."
    if not status.lag:
        return Verdict("fresh", "Caught up", f"Everything in Kafka is applied. {aim}")
    behind = f"Of the slowest partition, the oldest event not yet applied is {span(status.staleness)} old. {aim}"
    if status.staleness <= objective:
        return Verdict("fresh", "Fresh", behind)
    return Verdict("behind", f"Behind by {span(status.staleness)}", behind)


def partitions(status: Status, history: History) -> list[PartitionRow]:
    """By topic and number, so that a row stays where it is."""
    rates = history.rates()
    ordered = sorted(status.partitions, key=lambda one: (one.topic, one.partition))
    return [
        PartitionRow(one, history.number(_place(one)), rates.get(_place(one)), _state(one, history, rates))
        for one in ordered
    ]


def workers(rows: Iterable[PartitionRow]) -> list[WorkerRow]:
    """Who took partitions last, by name."""
    found: dict[str, list[PartitionRow]] = {}
    for row in rows:
        if row.of.owner is not None:
            found.setdefault(row.of.owner, []).append(row)
    return [_worker(name, theirs) for name, theirs in sorted(found.items())]


def trend(history: History) -> Trend:
    """What the charts show."""
    minutes, last = history.minutes(), history.last()
    return Trend(
        None if last is None else last.rate,
        max((one.lag for one in minutes), default=0),
        max((one.staleness for one in minutes), default=0.0),
        history.most_rate(),
        minutes,
    )


def rebuild(row: Mapping[str, Any]) -> RebuildRow:
    """How far a rebuild is, by what it last said of itself."""
    running = row["state"] in ("running", "cancelling")
    events, expected, seen = row["events"] or 0, row["expected"] or 0, row["seen_at"]
    seconds = (seen - row["started_at"]).total_seconds() if seen else 0.0
    rate = events / seconds if seconds > 0 and events else None
    share = events / expected if running and expected >= events > 0 else None
    left = (expected - events) / rate if share is not None and rate else None
    return RebuildRow(row, running, share, rate, left)


def _state(
    one: PartitionStatus, history: History, rates: Mapping[Place, float]
) -> Literal["caught up", "catching up", "waiting", "standing still"]:
    """A worker takes its partitions in turn, so for one of them nothing may happen for a while."""
    if not one.lag:
        return "caught up"
    if rates.get(_place(one)):
        return "catching up"
    return "standing still" if history.still(_place(one)) >= _STILL else "waiting"


def _worker(name: str, rows: Sequence[PartitionRow]) -> WorkerRow:
    rates = [row.rate for row in rows if row.rate is not None]
    return WorkerRow(
        name,
        len(rows),
        sum(row.of.lag for row in rows),
        sum(rates) if rates else None,
        max((row.of.updated_at for row in rows if row.of.updated_at is not None), default=None),
    )


def _place(one: PartitionStatus) -> Place:
    return (one.topic, one.partition)
