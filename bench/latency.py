"""*latency*: from an event's `send` to the moment a reader sees its effect, at a steady rate, worker at its defaults.

Rows, ledger and checkpoint of a batch are one transaction, so an event's row is visible to a reader exactly when its
partition's checkpoint has passed its offset. A reader on a connection of its own therefore looks at all checkpoints,
a millisecond after its last look, and every event is a sample, not only probes. That the premise holds is checked
at every look: in the same statement it reads the versions of twelve probe orders through `read_model.order_summary`,
and each has to be exactly the one that the checkpoints imply.

An event counts as seen when the answer of the first look that shows it has arrived: the figure is never too low, and
too high by one look at most (`look_ms` says how far apart looks were). Sent means just before the producer's `send`,
so the producer and Kafka are in it; `broker_p50_ms` says how much that was.
"""

from __future__ import annotations

import asyncio
import gc
import time
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from bench.ids import Kind
from bench.metrics import batches
from bench.race import cpu
from bench.sender import PROBES, Sent, probe_of
from bench.stage import PARTITIONS, SQL, Stage, connected, environment, fresh_database, members
from bench.truth import WrongResult
from runtime.embedded.ports import free_port
from runtime.embedded.processes import ServerProcess, last_words
from runtime.kafka import ensure_topics
from schemas.errors import Unavailable

_LOOK = 0.001
_TO_START = 30.0
_TO_FINISH = 20.0  # seconds after the last event was due
_WARM_UP = 5.0  # seconds at the beginning that don't count


@dataclass
class Looks:
    """What the reader saw, look by look: when, each partition's checkpoint, each probe's version."""

    at_ns: list[int] = field(default_factory=list)
    offsets: list[tuple[int, ...]] = field(default_factory=list)
    versions: list[tuple[int, ...]] = field(default_factory=list)


async def latency(on: Stage, topic: str, rate: float, seconds: float, window: int) -> dict[str, float]:
    """Percentiles over every event sent after the warm-up."""
    async with fresh_database(on) as url:
        return await measured(on, url, topic, rate, seconds, window)


async def measured(
    on: Stage, url: str, topic: str, rate: float, seconds: float, window: int, ids: Kind | None = None
) -> dict[str, float]:
    """The same in this database, be there rows in it; events with their own ids, or with some of that kind."""
    count = int(rate * (seconds + _WARM_UP))
    file, log = on.home / f"{topic}.json", on.home / "latency.log"
    async with connected(on.at(url, topic)) as connection:
        settings = on.at(url, topic)
        await ensure_topics(settings, [topic], PARTITIONS)
        port = free_port()
        environ = environment(settings, PROJECTOR_METRICS_PORT=str(port))
        with members([(("-m", "cli", "worker"), environ)], log) as workers:
            await _taken(connection, topic, workers, log)
            arguments = (topic, str(count), str(window), str(count), str(rate), str(file), *([ids] if ids else []))
            with members([(("-m", "bench.sender", *arguments), environ)], log) as senders:
                before, began = cpu(on, workers), time.monotonic()
                looks = await _watch(connection, topic, count, senders[0], count / rate + _TO_START + _TO_FINISH, log)
                after, lasted = cpu(on, workers), time.monotonic() - began
                if not await asyncio.to_thread(senders[0].gone_within, _TO_FINISH):
                    raise Unavailable("the sender does not end")
            cut = await batches([port])
    sent = Sent(**orjson.loads(file.read_bytes()))
    _agree(sent, looks)
    busy = {f"{who}_cpu_percent": (after[who] - before[who]) / lasted * 100 for who in after}
    return {**_figures(sent, looks, int(rate * _WARM_UP)), **busy, **cut}


async def _taken(connection: Any, topic: str, workers: list[ServerProcess], log: Path) -> None:
    deadline = time.monotonic() + _TO_START
    while (await connection.fetchrow(SQL["progress"], topic))["partitions"] < PARTITIONS:
        if not workers[0].alive() or time.monotonic() > deadline:
            raise Unavailable(f"the worker doesn't start:\n{last_words(log)}")
        await asyncio.sleep(0.02)


async def _watch(connection: Any, topic: str, count: int, sender: ServerProcess, limit: float, log: Path) -> Looks:
    looks = Looks()
    look = await connection.prepare(SQL["visible"])
    deadline = time.monotonic() + limit
    gc.collect()
    gc.disable()
    try:
        applied = 0
        while applied < count:
            row = await look.fetchrow(topic, list(PROBES))
            looks.at_ns.append(time.monotonic_ns())
            looks.offsets.append(tuple(row["offsets"]))
            looks.versions.append(tuple(row["versions"]))
            applied = sum(row["offsets"])
            if time.monotonic() > deadline or (not sender.alive() and sender.child and sender.child.returncode):
                raise Unavailable(f"{applied} of {count} events were seen in time:\n{last_words(log)}")
            await asyncio.sleep(_LOOK)
    finally:
        gc.enable()
    return looks


def _agree(sent: Sent, looks: Looks) -> None:
    """At every look, the probes' versions are the ones that the checkpoints imply."""
    probes: list[list[int]] = [[] for _ in PROBES]
    where = [0] * len(PROBES)
    for place, offset in enumerate(sent.offsets):
        if (found := probe_of(place)) is not None:
            probes[found[0]].append(offset)
            where[found[0]] = sent.partitions[place]
    for offsets, versions in zip(looks.offsets, looks.versions, strict=True):
        implied = tuple(bisect_left(probes[one], offsets[where[one]]) for one in range(len(PROBES)))
        if implied != versions:
            raise WrongResult(f"a reader saw probe versions {versions} where the checkpoints imply {implied}")


def _figures(sent: Sent, looks: Looks, skip: int) -> dict[str, float]:
    by_partition = [[offsets[partition] for offsets in looks.offsets] for partition in range(PARTITIONS)]
    seen = [
        looks.at_ns[bisect_right(by_partition[partition], offset)]
        for partition, offset in zip(sent.partitions, sent.offsets, strict=True)
    ]
    places = range(skip, len(seen))
    latencies = sorted((seen[place] - sent.sent_ns[place]) / 1e6 for place in places)
    broker = sorted((sent.acknowledged_ns[place] - sent.sent_ns[place]) / 1e6 for place in places)
    late = max((sent.sent_ns[place] - sent.due_ns[place]) / 1e6 for place in places)
    gaps = sorted((after - before) / 1e6 for before, after in zip(looks.at_ns, looks.at_ns[1:], strict=False))
    span = (sent.sent_ns[-1] - sent.sent_ns[skip]) / 1e9
    return {
        "p50_ms": _percentile(latencies, 50),
        "p99_ms": _percentile(latencies, 99),
        "p999_ms": _percentile(latencies, 99.9),
        "max_ms": latencies[-1],
        "samples": len(latencies),
        "sent_per_s": (len(latencies) - 1) / span,
        "broker_p50_ms": _percentile(broker, 50),
        "broker_p99_ms": _percentile(broker, 99),
        "look_ms": _percentile(gaps, 50),
        "look_p99_ms": _percentile(gaps, 99),
        "sender_late_max_ms": late,
    }


def _percentile(ordered: list[float], percent: float) -> float:
    """The nearest rank: a value that was really measured."""
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]
