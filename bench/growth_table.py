"""The table of `python -m bench.growth`, and its ratios to an empty ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.tables import Parts, columns, micro, ratios, spread, table, two, whole

_HEAD = (
    "ids", "rows", "key's index, MiB", "events/s", "÷ empty", "CPU: worker", "PostgreSQL", "Kafka",
    "latency p50, ms", "p99", "p99.9", "p50 ÷ empty", "p99 ÷ empty",
)  # fmt: skip
_COSTS = ("worker_cpu_us", "postgres_cpu_us", "kafka_cpu_us")
_PERCENTILES = ("latency_p50_ms", "latency_p99_ms", "latency_p999_ms")
_RATIOS = ("events_per_s", "latency_p50_ms", "latency_p99_ms")


def part_of(ids: str, rows: int) -> str:
    """The name of the figures of a ledger with so many rows."""
    return f"growth-{ids}-{rows}"


def pairs(kinds: Iterable[str], sizes: Sequence[int]) -> list[tuple[str, ...]]:
    """Each size's ratios to an empty ledger of its kind: their name, the two parts, the figure."""
    found = [(part_of(ids, rows), part_of(ids, 0)) for ids in kinds for rows in sizes]
    return [(f"{over} ÷ empty, {figure}", over, under, figure) for over, under in found for figure in _RATIOS]


def growth_table(parts: Parts) -> str:
    """A line per kind of id and size, in the order measured; ratios are within a round."""
    rows = []
    for part, runs in parts.items():
        found, ids, size = columns(runs), part.split("-")[1], int(runs[0]["ledger_rows"])
        rate, *slower = [spread(ratios(parts, part, part_of(ids, 0), figure), two) for figure in _RATIOS]
        costs = [spread(found[name], micro) for name in _COSTS]
        latencies = [spread(found[name], two) for name in _PERCENTILES]
        index = whole(runs[0]["key_index_mib"])
        rows.append((ids, whole(size), index, spread(found["events_per_s"], whole), rate, *costs, *latencies, *slower))
    return table(_HEAD, rows) + "\n\nCPU in microseconds per event."
