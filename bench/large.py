"""`python -m bench.large`: a rebuild of millions of events from Kafka, beside COPY of the very same rows.

What `python -m bench` can't do at this size: its proof holds every event in memory. Here it is `projector verify` on a
sample of the orders, and on all sums, which holds a range at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time

import orjson

from bench.limit import Rows
from bench.rebuild import measured
from bench.stage import ROOT, Stage, connected, environment, fresh_database, stage
from bench.stream import Load, plan, put

_TASK = 7_200.0  # seconds that a part may take


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.large", description=__doc__)
    parser.add_argument("--orders", type=int, default=612_500, help="orders; each has 4.9 events (612,500)")
    parser.add_argument("--window", type=int, default=400, help="orders under way at once in the stream (400)")
    parser.add_argument("--workers", type=int, default=2, help="processes of the rebuild (2)")
    parser.add_argument("--sample", type=float, default=2.0, help="percent of the orders to be verified (2)")
    return asyncio.run(_run(parser.parse_args()))


async def _run(options: argparse.Namespace) -> int:
    async with stage() as on:
        began = time.monotonic()
        load = await put(on, "bench-large", plan(options.orders, options.window))
        _say(f"{load.events:,} events produced in {time.monotonic() - began:,.0f} s")
        async with fresh_database(on) as url, connected(on.at(url, load.topic)) as connection:
            figures = await measured(on, url, load, options.workers)
            _say(_json({"rebuild": figures}))
            rows = Rows()
            await rows.dump(connection, on.cluster)
            code = _verified(on, url, load, options.sample)
        limit = await _limit(on, load, rows)
        _say(
            _json({"limit": limit, "rebuild ÷ limit": figures["events_per_s"] / limit["events_per_s"], "verify": code})
        )
        return code


async def _limit(on: Stage, load: Load, rows: Rows) -> dict[str, float]:
    async with fresh_database(on) as url, connected(on.at(url, load.topic)) as connection:
        began = time.perf_counter()
        await rows.load(connection)
        seconds = time.perf_counter() - began
    return {"events_per_s": load.events / seconds, "seconds": seconds}


def _verified(on: Stage, url: str, load: Load, sample: float) -> int:
    """Nothing has checkpoints yet, so what was applied is compared by the journal."""
    command = [sys.executable, "-m", "cli", "verify", "--source", "journal", "--sample", str(sample)]
    where = environment(on.at(url, load.topic))
    return subprocess.run(command, cwd=ROOT, env=where, check=False, timeout=_TASK).returncode


def _json(figures: object) -> str:
    return orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
