"""Consumers against the clock: from the partitions taken to everything applied, with the CPU time of each party.

The clock starts at the first look (every 5 ms) that finds a checkpoint row of the topic: the consumer has joined
its group and is about to fetch its first record. It stops at the first look (every 10 ms) at which the checkpoints
add up to the number of records produced: the last commit. Starting the process and joining the group are not
in it; filling the pipeline, preparing statements and the last small batches are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.stage import SQL, Stage
from runtime.embedded.processes import ServerProcess, last_words
from schemas.connection import Connection
from schemas.errors import Unavailable

_TO_TAKE = 60.0  # seconds for a consumer to start and join


@dataclass(frozen=True)
class Race:
    """What it took. `cpu` is in seconds, by party."""

    events: int
    seconds: float
    cpu: Mapping[str, float]

    def figures(self) -> dict[str, float]:
        """As every part reports them."""
        shares = {f"{who}_cpu_us": seconds * 1e6 / self.events for who, seconds in self.cpu.items()}
        return {"events_per_s": self.events / self.seconds, "seconds": self.seconds, **shares}


async def race(
    on: Stage,
    connection: Connection,
    topic: str,
    events: int,
    workers: Sequence[ServerProcess],
    log: Path,
    limit: float,
) -> Race:
    """Time `workers`, just started, until they have applied `events` records of the topic, within `limit` seconds."""
    deadline = time.monotonic() + _TO_TAKE
    look = await connection.prepare(SQL["progress"])
    while (await progress(look, topic))[0] == 0:
        running_still(workers, log, deadline, "take their partitions")
        await asyncio.sleep(0.005)
    began, before = time.perf_counter(), cpu(on, workers)
    deadline = time.monotonic() + limit
    while (await progress(look, topic))[1] < events:
        running_still(workers, log, deadline, f"apply {events} events")
        await asyncio.sleep(0.01)
    seconds, after = time.perf_counter() - began, cpu(on, workers)
    return Race(events, seconds, {who: after[who] - before[who] for who in after})


def cpu(on: Stage, workers: Sequence[ServerProcess]) -> dict[str, float]:
    """CPU seconds so far, by party: user and system, with all children, also those that have ended."""
    servers = {"postgres": on.database.process, "kafka": on.kafka.process if on.kafka else None}
    found = {who: _cpu(server.pid) for who, server in servers.items() if server is not None}
    return {"worker": sum(_cpu(worker.pid) for worker in workers), **found}


async def progress(look: object, topic: str) -> tuple[int, int]:
    """(partitions taken, records applied) of a topic; `look` is the statement of that name, prepared."""
    row = await look.fetchrow(topic)  # type: ignore[attr-defined]  # a prepared statement
    return row["partitions"], row["applied"]


def running_still(workers: Sequence[ServerProcess], log: Path, deadline: float, what: str) -> None:
    if not all(worker.alive() for worker in workers):
        raise Unavailable(f"a worker has ended before it could {what}:\n{last_words(log)}")
    if time.monotonic() > deadline:
        raise Unavailable(f"the workers took too long to {what}:\n{last_words(log)}")


def _cpu(pid: int) -> float:
    process = psutil.Process(pid)
    own = process.cpu_times()
    total = float(own.user + own.system + own.children_user + own.children_system)
    for child in process.children(recursive=True):
        try:
            times = child.cpu_times()
            total += float(times.user + times.system + times.children_user + times.children_system)
        except psutil.NoSuchProcess:
            continue
    return total
