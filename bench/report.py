"""Medians and spread, for people (Markdown) and machines (JSON)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import orjson

from bench.peers.report import peers_table
from bench.tables import Figures, Parts, columns, micro, ratios, spread, table, two, whole

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"

_THROUGHPUT = ("limit", "live", "live-2", "skew", "rebuild", "rebuild-2", "naive")
_RATIOS = (
    ("live ÷ limit", "live", "limit"), ("live ÷ naive", "live", "naive"), ("2 processes ÷ 1", "live-2", "live"),
    ("skewed ÷ even", "skew", "live-2"),
    ("rebuild ÷ limit", "rebuild", "limit"), ("rebuild, 2 processes ÷ limit", "rebuild-2", "limit"),
)  # fmt: skip
_LATENCY = (
    ("p50", "p50_ms"), ("p99", "p99_ms"), ("p99.9", "p999_ms"), ("slowest", "max_ms"),
    ("of it until Kafka had it, p50", "broker_p50_ms"), ("of it until Kafka had it, p99", "broker_p99_ms"),
    ("between two looks of the reader, p50", "look_ms"), ("sent late by, at most", "sender_late_max_ms"),
    ("a batch took, mean", "ms_per_batch"), ("events in a batch, mean (a number)", "events_per_batch"),
)  # fmt: skip


@dataclass
class Report:
    """What was measured: of each part the figures of every round."""

    machine: Mapping[str, str]
    load: Mapping[str, object]
    parts: dict[str, list[Figures]] = field(default_factory=dict)
    pairs: Sequence[tuple[str, ...]] = _RATIOS  # name, over, under, and the figure if it isn't events per second

    def add(self, part: str, figures: Figures) -> None:
        self.parts.setdefault(part, []).append(figures)

    def json(self) -> bytes:
        """Everything, round by round, with the medians."""
        medians = {part: {name: median(of) for name, of in columns(runs).items()} for part, runs in self.parts.items()}
        shares = {name: ratios(self.parts, *pair) for name, *pair in self.pairs}
        found = {"machine": self.machine, "load": self.load, "medians": medians, "ratios": shares, "runs": self.parts}
        return orjson.dumps(found, option=orjson.OPT_INDENT_2)

    def markdown(self, *tables: Callable[[Parts], str]) -> str:
        """The tables of docs/performance.md: these, or those of `python -m bench`."""
        load = ", ".join(f"{name} {value}" for name, value in self.load.items())
        blocks = ["\n".join(f"- {name}: {value}" for name, value in self.machine.items()), f"Load: {load}."]
        own = (self._throughput(), self._ratios(), peers_table(self.parts), self._batches(), self._latency())
        blocks += [made(self.parts) for made in tables] if tables else own
        blocks.append("Medians, with the least and the greatest of all rounds in brackets.")
        return "\n\n".join(block for block in blocks if block)

    def _throughput(self) -> str:
        head = ("part", "events/s", "worker", "PostgreSQL", "Kafka")
        cost = ("worker_cpu_us", "postgres_cpu_us", "kafka_cpu_us")
        rows = []
        for part in _THROUGHPUT:
            if part in self.parts:
                found = columns(self.parts[part])
                shares = [spread(found[name], micro) if name in found else "" for name in cost]
                rows.append((part, spread(found["events_per_s"], whole), *shares))
        return table(head, rows) + "\n\nCPU in microseconds per event." if rows else ""

    def _ratios(self) -> str:
        found = [(name, ratios(self.parts, *pair)) for name, *pair in self.pairs]
        rows = [(name, spread(values, two)) for name, values in found if values]
        return table(("ratio, within a round", ""), rows) if rows else ""

    def _batches(self) -> str:
        names = ("batches", "events_per_batch", "ms_per_batch", "order_writes_per_event", "batches_run_again")
        rows = []
        for part in ("live", "live-2", "skew"):
            if part in self.parts:
                found = columns(self.parts[part])
                rows.append((part, *(spread(found[name], two) for name in names)))
        return table(("part", *(name.replace("_", " ") for name in names)), rows) if rows else ""

    def _latency(self) -> str:
        tables = []
        for part, runs in self.parts.items():
            if part.startswith("latency"):
                found = columns(runs)
                title = f"{part} ({spread(found['sent_per_s'], whole)} events/s), ms"
                tables.append(table((title, ""), [(words, spread(found[name], two)) for words, name in _LATENCY]))
        return "\n\n".join(tables)


def write(tables: str, name: str = "bench", page: Path = PAGE) -> None:
    """Put tables between the page's markers of this name."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    text = page.read_text("utf-8")
    marked = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    page.write_text(marked.sub(lambda _: f"{begin}\n\n{tables}\n\n{end}", text, count=1), "utf-8")
