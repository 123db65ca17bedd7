"""*rebuild*: `projector rebuild` from Kafka's log into a database that has nothing, up to the swap and its end.

Everything is built: states, ledger, sums, documents, with all indexes. The time is the command's own, from reading the
log's ends to the tables' exchange; starting Python isn't in it.
"""

from __future__ import annotations

import asyncio

import orjson
import psutil

from bench.race import cpu
from bench.stage import Stage, connected, environment, fresh_database, members
from bench.stream import Load
from bench.truth import Truth
from runtime.embedded.processes import ServerProcess, last_words
from schemas.errors import Unavailable

_LOOK = 0.1  # seconds between two looks at its memory


async def rebuild(on: Stage, load: Load, truth: Truth, processes: int = 1) -> dict[str, float]:
    """Events per second, CPU per event, and the most memory that its processes had together."""
    async with fresh_database(on) as url, connected(on.at(url, load.topic)) as connection:
        figures = await measured(on, url, load, processes)
        await truth.check(connection, load)
        return figures


async def measured(on: Stage, url: str, load: Load, processes: int) -> dict[str, float]:
    """The same into this database, and nothing proved."""
    log = on.home / "rebuild.log"
    log.unlink(missing_ok=True)
    command = ("-m", "cli", "rebuild", "--workers", str(processes), "--json")
    before = cpu(on, ())
    with members([(command, environment(on.at(url, load.topic)))], log) as [program]:
        memory, used = await watched(on, program)
    after = cpu(on, ())
    told = log.read_bytes().splitlines()
    found = orjson.loads(told[-1]) if told and told[-1].startswith(b"{") else {}
    if found.get("state") != "swapped":
        raise Unavailable(f"the rebuild did not get to its end:\n{last_words(log)}")
    shares = {f"{who}_cpu_us": (after[who] - before[who]) * 1e6 / load.events for who in ("postgres", "kafka")}
    return {
        "events_per_s": load.events / found["seconds"],
        "seconds": found["seconds"],
        "worker_cpu_us": used * 1e6 / load.events,
        **shares,
        "memory_mib": memory / 2**20,
    }


async def watched(on: Stage, program: ServerProcess) -> tuple[float, float]:
    """Until a program ends: the most bytes that it and its children held at once, and the seconds of CPU they took."""
    process = psutil.Process(program.pid)
    memory, used = 0.0, 0.0
    while program.alive():
        memory = max(memory, _memory(process))
        used = max(used, cpu(on, [program])["worker"]) if program.alive() else used
        await asyncio.sleep(_LOOK)
    return memory, used


def _memory(process: psutil.Process) -> float:
    """Bytes that a process and its children hold; what they share is counted for each."""
    total = 0.0
    try:
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total
