"""Where the time goes: `python -m bench.profile`, the processor alone on records in memory, without Kafka.

Three passes over the same batches, each in a fresh database, one batch at a time:

    clean       wall and CPU time of this process and of PostgreSQL, by step, with nothing in the way
    statements  what each SQL statement costs the server (pg_stat_statements; parsing parameters is not in it)
    functions   cProfile: own time of Python functions; it makes small functions look dearer than they are

Batches are cut as a worker's lanes get them: a share of the partitions each, in turn.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import psutil
import uvloop
from aiokafka.partitioner import murmur2

from bench.stage import PARTITIONS, SQL, Stage, connected, fresh_database, stage, tried
from bench.stream import plan
from consumer import checkpoints
from consumer.checkpoints import Place
from consumer.processor import Holds, Processor
from consumer.projection import Projection
from consumer.read_models import READ_MODELS
from producer.simulation import simulate
from runtime import postgres
from schemas.connection import Connection
from schemas.events import StoredRecord
from schemas.wire_batch import decode_all

_TOPIC = "profile"
_ROOT = f"{Path(__file__).resolve().parent.parent}/"
_COUNTING = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track_planning": "on"}


Batches = list[list[StoredRecord]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("--orders", type=int, default=20_000)
    parser.add_argument("--window", type=int, default=400, help="orders under way at once in the stream")
    parser.add_argument("--batch", type=int, default=5_000, help="records in a batch")
    parser.add_argument("--lanes", type=int, default=3, help="shares of the partitions")
    parser.add_argument("--top", type=int, default=35, help="functions shown")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a server setting to try")
    uvloop.run(_profile(parser.parse_args()))


async def _profile(options: argparse.Namespace) -> None:
    batches = _cut(options.orders, options.window, options.batch, options.lanes)
    events = sum(map(len, batches))
    _say(f"{events:,} events in {len(batches)} batches\n")
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)  # as runtime.service has it
    async with stage(kafka=False, settings={**_COUNTING, **tried(options.set)}) as on:
        await _clean(on, batches, events)
        await _statements(on, batches, events)
        await _functions(on, batches, events, options.top)


def _cut(orders: int, window: int, size: int, lanes: int) -> Batches:
    """The stream by partition, as Kafka's default partitioner has it, and then by lane."""
    logs: list[list[StoredRecord]] = [[] for _ in range(PARTITIONS)]
    for delivery in simulate(plan(orders, window)):
        number = (murmur2(delivery.key) & 0x7FFFFFFF) % PARTITIONS
        log = logs[number]
        log.append(
            StoredRecord(_TOPIC, number, len(log), 0, delivery.key, delivery.value, tuple(delivery.headers)),
        )
    shares = [_lane(logs[lane::lanes], size) for lane in range(lanes)]
    turns = max(map(len, shares))
    return [share[turn] for turn in range(turns) for share in shares if turn < len(share)]


def _lane(logs: list[list[StoredRecord]], size: int) -> Batches:
    each = max(size // len(logs), 1)
    turns = range(0, max(map(len, logs)), each)
    return [[record for log in logs for record in log[start : start + each]] for start in turns]


async def _clean(on: Stage, batches: Batches, events: int) -> None:
    took = {"decode": 0.0, "process, until it waits for PostgreSQL or ends": 0.0, "process, in all": 0.0}
    server = 0.0

    async def step(processor: Processor, batch: list[StoredRecord], holds: Holds) -> Holds:
        began = time.process_time()
        items = decode_all(batch)
        decoded = time.process_time()
        wall = time.perf_counter()
        _, holds = await processor.process(items, holds)
        took["decode"] += decoded - began
        took["process, until it waits for PostgreSQL or ends"] += time.process_time() - decoded
        took["process, in all"] += time.perf_counter() - wall
        return holds

    async def pass_(url: str) -> None:
        nonlocal server
        server = await _through(on, url, batches, step)

    async with fresh_database(on) as url:
        await pass_(url)
        async with connected(on.at(url, _TOPIC)) as connection:
            sizes = await connection.fetch(SQL["sizes"])
            hot = await connection.fetch(SQL["hot_updates"])
    _say("clean pass, µs per event")
    for name, seconds in took.items():
        _say(f"  {seconds / events * 1e6:8.2f}  {name}{'' if name.endswith('all') else ' (CPU of this process)'}")
    _say(f"  {server / events * 1e6:8.2f}  CPU of PostgreSQL's backend")
    _say(f"  {took['process, in all'] / len(batches) * 1e3:8.2f}  ms per batch, in all\n")
    _say("bytes per event on disk")
    for row in sizes:
        _say(f"  {row['bytes'] / events:8.1f}  {row['name']}")
    _say("\nrows: inserted, updated, of these HOT")
    for row in hot:
        _say(f"  {row['inserted']:9,} {row['updated']:9,} {row['hot']:9,}  {row['name']}")
    _say("")


async def _statements(on: Stage, batches: Batches, events: int) -> None:
    async with fresh_database(on) as url, connected(on.at(url, _TOPIC)) as connection:
        await connection.execute(SQL["statements_start"])
        await connection.execute(SQL["statements_reset"])
        await _through(on, url, batches, _step)
        rows = await connection.fetch(SQL["statements_read"])
    _say("statements: µs per event, ms per call, calls, rows, WAL bytes per event, what")
    for row in rows[:16]:
        words = " ".join(row["query"].split())[:90]
        each = row["ms"] / max(row["calls"], 1)  # planned and never run, perhaps
        cost = f"{row['ms'] / events * 1e3:8.2f} {each:9.3f} {row['calls']:7,} {row['rows']:9,}"
        _say(f"  {cost} {row['wal_bytes'] / events:8.1f}  {words}")
    _say(f"  {sum(row['ms'] for row in rows) / events * 1e3:8.2f} in all\n")


async def _functions(on: Stage, batches: Batches, events: int, top: int) -> None:
    profile = cProfile.Profile()
    async with fresh_database(on) as url:
        await _through(on, url, batches, _step, profile)
    found = pstats.Stats(profile).get_stats_profile().func_profiles
    by_cost = sorted(found.items(), key=lambda item: -item[1].tottime)
    _say("functions: own µs per event, with callees µs per event, calls per event, which")
    for name, cost in by_cost[:top]:
        calls = int(str(cost.ncalls).partition("/")[0]) / events
        file = cost.file_name.rpartition("site-packages/")[2].removeprefix(_ROOT)
        where = f"{file}:{cost.line_number}" if cost.line_number else ""
        _say(f"  {cost.tottime / events * 1e6:8.2f} {cost.cumtime / events * 1e6:8.2f} {calls:8.2f}  {name} {where}")


async def _step(processor: Processor, batch: list[StoredRecord], holds: Holds) -> Holds:
    return (await processor.process(decode_all(batch), holds))[1]


async def _through(
    on: Stage,
    url: str,
    batches: Batches,
    step: Callable[..., object],
    profile: AbstractContextManager[object] | None = None,
) -> float:
    """Every batch, one after the other; the CPU seconds of the backend that served them."""
    async with postgres.pool(on.at(url, _TOPIC), "projector-profile", 1) as pool:
        async with pool.acquire() as connection:
            holds: Holds = await _take(connection)
            backend = psutil.Process(await connection.fetchval(SQL["backend"]))
        processor = Processor(pool, Projection(READ_MODELS))
        before = backend.cpu_times()
        with profile or nullcontext():
            for batch in _without_empty(batches):
                holds = await step(processor, batch, holds)  # type: ignore[misc]  # step is one of two kinds
        after = backend.cpu_times()
    return float(after.user + after.system - before.user - before.system)


def _without_empty(batches: Batches) -> Iterator[list[StoredRecord]]:
    return (batch for batch in batches if batch)


async def _take(connection: Connection) -> Holds:
    starts = {Place(_TOPIC, partition): 0 for partition in range(PARTITIONS)}
    return await checkpoints.take(connection, starts, "profile")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
