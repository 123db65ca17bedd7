"""`python -m bench.spread`: *live* over numbers of partitions and of workers.

Each number of partitions has a topic of its own, with the same stream. With more partitions a worker's batches hold
fewer of each one's records, and a batch writes more checkpoints; with more workers than cores, they share them.
"""

from __future__ import annotations

import argparse
import time
from itertools import product

from bench.live import live
from bench.machine import described
from bench.options import common, positive, run, say, shown
from bench.report import Report
from bench.stage import stage
from bench.stream import plan, put
from bench.tables import Parts, columns, micro, ratios, spread, table, two, whole
from bench.truth import Truth
from runtime.kafka import ensure_topics

_HEAD = (
    "partitions", "workers", "events/s", "÷ first line", "CPU: workers", "PostgreSQL", "Kafka", "events per batch",
    "batches run again", "assignments",
)  # fmt: skip
_COSTS = ("worker_cpu_us", "postgres_cpu_us", "kafka_cpu_us")
_NOTE = (
    "CPU in microseconds per event. More assignments than workers: one of them joined behind the others, and what they "
    "had in hand was given up."
)
_WARM_UP = 5_000  # events


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.spread", description=__doc__)
    common(parser, runs=3)
    parser.add_argument("--partitions", type=positive, nargs="+", default=[12, 48, 96], help="(12 48 96)")
    parser.add_argument("--workers", type=positive, nargs="+", default=[1, 2, 3, 4], help="processes (1 2 3 4)")
    return parser.parse_args()


async def _bench(options: argparse.Namespace) -> None:
    partitions, workers = sorted({*options.partitions}), sorted({*options.workers})
    async with stage() as on:
        stream = plan(options.orders, options.window)
        for one in partitions:  # all before the first record: a topic this young has partitions without a leader
            await ensure_topics(on.settings, [_topic(one)], one)
        say(f"producing {options.orders:,} orders, {len(partitions)} times")
        loads = {one: await put(on, _topic(one), stream, partitions=one) for one in partitions}
        small = await put(on, "bench-warm", stream, _WARM_UP)
        load = {"orders": f"{options.orders:,}", "events": f"{loads[partitions[0]].events:,}"}
        cells = [(part_of(*cell), *cell) for cell in product(partitions, workers)]
        pairs = [(f"{part} ÷ {cells[0][0]}", part, cells[0][0]) for part, *_ in cells]
        found = Report(await described(on), {**load, "orders under way at once": options.window}, pairs=pairs)
        truth = Truth()
        await live(on, small, Truth())  # warms the broker, the page cache and Python's compiled files
        for number in range(1, options.runs + 1):
            for part, one, processes in cells:
                began = time.monotonic()
                figures = await live(on, loads[one], truth, processes=processes)
                found.add(part, {"partitions": one, "workers": processes, **figures})
                took = time.monotonic() - began
                say(f"round {number}: {part} {figures['events_per_s']:,.1f} ({took:.0f} s in all)")
    shown(options, found, "spread", spread_table)


def _topic(partitions: int) -> str:
    return f"bench-spread-{partitions}"


def part_of(partitions: int, workers: int) -> str:
    """The name of this cell's figures."""
    return f"spread-{partitions}-{workers}"


def spread_table(parts: Parts) -> str:
    """A line per number of partitions and of workers, in the order measured; ratios are within a round."""
    first, rows = next(iter(parts)), []
    for part, runs in parts.items():
        found = columns(runs)
        speed = (spread(found["events_per_s"], whole), spread(ratios(parts, part, first), two))
        costs = [spread(found[name], micro) for name in _COSTS]
        cut = [spread(found[name], two) for name in ("events_per_batch", "batches_run_again", "assignments")]
        rows.append((whole(runs[0]["partitions"]), whole(runs[0]["workers"]), *speed, *costs, *cut))
    return f"{table(_HEAD, rows, words=())}\n\n{_NOTE}"


if __name__ == "__main__":
    raise SystemExit(run(_options(), _bench))
