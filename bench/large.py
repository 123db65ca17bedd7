"""`python -m bench.large`: a rebuild of millions of events from Kafka, beside COPY of the very same rows.

What `python -m bench` can't do at this size: its proof holds every event in memory. Here it is `projector verify` on a
sample of the orders, and on all sums, which holds a range at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

import orjson

from bench.limit import Rows
from bench.race import cpu
from bench.rebuild import measured, watched
from bench.stage import Stage, connected, environment, fresh_database, members, stage
from bench.stream import Load, plan, put


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
            verified = await _verified(on, url, load, options.sample)
            _say(_json({"verify": verified}))
        limit = await _limit(on, load, rows)
        _say(_json({"limit": limit, "rebuild ÷ limit": figures["events_per_s"] / limit["events_per_s"]}))
        return int(verified["code"])


async def _limit(on: Stage, load: Load, rows: Rows) -> dict[str, float]:
    async with fresh_database(on) as url, connected(on.at(url, load.topic)) as connection:
        began = time.perf_counter()
        await rows.load(connection)
        seconds = time.perf_counter() - began
    return {"events_per_s": load.events / seconds, "seconds": seconds}


async def _verified(on: Stage, url: str, load: Load, sample: float) -> dict[str, float]:
    """Its code (0: no difference) and what it took, Python's start included. Nothing has checkpoints yet, so what was
    applied is compared by the journal."""
    log = on.home / "verify.log"
    command = ("-m", "cli", "verify", "--source", "journal", "--sample", str(sample))
    began, before = time.perf_counter(), cpu(on, ())
    with members([(command, environment(on.at(url, load.topic)))], log) as [program]:
        memory, used = await watched(on, program)
        code = program.child.returncode if program.child else None
    seconds, after = time.perf_counter() - began, cpu(on, ())
    _say(log.read_text("utf-8"))
    events = load.events * sample / 100
    return {
        "code": 1.0 if code is None else float(code),
        "seconds": seconds,
        "events_per_s": events / seconds,
        "worker_cpu_us": used * 1e6 / events,
        "postgres_cpu_us": (after["postgres"] - before["postgres"]) * 1e6 / events,
        "memory_mib": memory / 2**20,
    }


def _json(figures: object) -> str:
    return orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
