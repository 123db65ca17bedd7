"""`python -m bench.growth`: *live* and *latency* with so many events in the ledger already, by kind of id.

A ledger of each size is filled as `python -m bench.ledger` does it, by source and order ids of its own, up to the
moment at which the stream's events begin; every measurement gets a copy of it. The stream's ids are of the ledger's
kind: UUIDv7s go to the right edge of the key's index, random ones anywhere.

The proof is that of *live*: the read models hold what the stream means, and nothing else that came since the
filling; and the ledger has as many rows more as there were events.
"""

from __future__ import annotations

import argparse
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from bench import latency, live
from bench.growth_table import growth_table, pairs, part_of
from bench.ids import Kind
from bench.ledger import SOURCE, grow
from bench.machine import described
from bench.options import common, positive, run, say, shown
from bench.report import Report
from bench.stage import SQL, Stage, connected, fresh_database, stage
from bench.stream import Load, plan, put
from bench.tables import Figures
from bench.truth import Truth, WrongResult
from consumer.ledger import SourceNumbers
from producer.simulation import SimulationPlan

_WARM_UP = 5_000  # events


@dataclass(frozen=True)
class Filled:
    """A database to be copied: its name, the rows of its ledger, and MiB of the key's index."""

    name: str
    rows: int
    index_mib: float


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    common(parser, runs=3)
    parser.add_argument("--millions", type=_size, nargs="+", default=[0, 1], help="rows; 0 is always among them (0 1)")
    parser.add_argument("--ids", nargs="+", choices=("uuid7", "random"), default=["uuid7", "random"], help="(both)")
    parser.add_argument("--rate", type=positive, default=1_000, help="events per second of the latency (1,000)")
    parser.add_argument("--latency-seconds", type=positive, default=30, help="how long, after 5 s of warm-up (30)")
    return parser.parse_args()


def _size(text: str) -> float:
    if not 0 <= (millions := float(text)) <= 1_000:
        raise argparse.ArgumentTypeError(f"{text}: from 0 to 1,000")
    return millions


async def _bench(options: argparse.Namespace) -> None:
    sizes = sorted({int(millions * 1_000_000) for millions in (0, *options.millions)})
    kinds: list[Kind] = [*dict.fromkeys(options.ids)]
    async with stage() as on:
        stream, truth = plan(options.orders, options.window), Truth()
        say(f"producing {options.orders:,} orders, {len(kinds)} times")
        loads = {ids: await put(on, f"bench-growth-{ids}", stream, ids=ids) for ids in kinds}
        small = await put(on, "bench-warm", stream, _WARM_UP)
        load = {"orders": f"{options.orders:,}", "events": f"{loads[kinds[0]].events:,}"}
        load |= {"orders under way at once": f"{options.window:,}"}
        found = Report(await described(on), load, pairs=pairs(kinds, sizes))
        await live.live(on, small, Truth())  # warms the broker, the page cache and Python's compiled files
        for ids, of in loads.items():
            async with AsyncExitStack() as ledgers:  # one kind's at a time: fifty million rows are 12 GB
                filled = await _fill(on, ledgers, sizes, ids)
                for number in range(1, options.runs + 1):
                    for one in filled:
                        began, part = time.monotonic(), part_of(ids, one.rows)
                        figures = await _measured(on, one, of, truth, options, f"{part}-{number}")
                        found.add(part, figures)
                        took = f"{time.monotonic() - began:.0f} s in all"
                        say(f"round {number}: {part} {figures['events_per_s']:,.1f} ({took})")
    shown(options, found, "growth", growth_table)


async def _fill(on: Stage, ledgers: AsyncExitStack, sizes: list[int], ids: Kind) -> list[Filled]:
    """A database for each size, which goes with `ledgers`; each grows out of a copy of the one before."""
    filled: list[Filled] = []
    for rows in sizes:
        name, began = f"bench_{ids}_{rows}", time.monotonic()
        before = filled[-1].name if filled else None
        url = await ledgers.enter_async_context(fresh_database(on, before, name))
        async with connected(on.at(url, "bench-growth")) as connection:
            numbers = SourceNumbers()
            await numbers.learn(connection, [SOURCE])
            await grow(connection, rows, numbers[SOURCE], ids, SimulationPlan.start)
            index = await connection.fetchval(SQL["ledger_key_size"])
        filled.append(Filled(name, rows, index / 2**20))
        say(f"a ledger of {rows:,} rows, ids {ids}, filled in {time.monotonic() - began:.0f} s")
    return filled


async def _measured(
    on: Stage, filled: Filled, load: Load, truth: Truth, options: argparse.Namespace, topic: str
) -> Figures:
    """What *live* gives, and what *latency* does (`latency_…`), each in a copy of this database."""
    async with fresh_database(on, filled.name) as url, connected(on.at(url, load.topic)) as connection:
        figures = await live.measured(on, url, connection, load, 1)
        await connection.execute(SQL["ledger_unnamed"], SOURCE)
        await truth.check(connection, load)
        if (rows := await connection.fetchval(SQL["ledger_rows"])) != filled.rows + load.events:
            raise WrongResult(f"{rows} rows in a ledger of {filled.rows} after {load.events} events")
    async with fresh_database(on, filled.name) as url:
        seen = await latency.measured(on, url, topic, options.rate, options.latency_seconds, options.window, load.ids)
    more = {f"latency_{name}": value for name, value in seen.items()}
    return {"ledger_rows": filled.rows, "key_index_mib": filled.index_mib, **figures, **more}


if __name__ == "__main__":
    raise SystemExit(run(_options(), _bench))
