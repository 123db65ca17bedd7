"""What workers say of themselves while they run, what the machine says of them, and where their offsets stand."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import asyncpg
import psutil
from aiokafka.errors import KafkaError

from consumer.checkpoints import Place
from runtime.embedded.ports import LOOPBACK
from tests.support.fleet import Member
from tests.support.streams import Ends

Metrics = dict[str, float]  # by name with labels, and by name alone: added up over the labels

_SAMPLE = re.compile(r"^(projector_[a-z_]+)(\{[^}]*\})? ([-0-9.e+]+)$", re.MULTILINE)
_COUNTED = {
    "fenced": "projector_fenced_total",
    "discarded fetches": "projector_discarded_fetches_total",
    "conflicts": 'projector_events_total{outcome="version_conflict"}',
    "parked": 'projector_events_total{outcome="parked"}',
}
_ANSWER = 1.0  # seconds that a worker may take to answer; a frozen one doesn't
_LOOK = 5.0  # seconds that a service may take; one that is broken doesn't answer
_AWAY = (OSError, TimeoutError, KafkaError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_CHECKPOINTS = "SELECT topic, partition, next_offset FROM projector.checkpoints"


@dataclass(frozen=True)
class Size:
    """How much a worker holds at one moment."""

    at: float  # the event loop's time
    pid: int
    memory: int  # bytes resident
    descriptors: int
    connections: int  # to Kafka and PostgreSQL


@dataclass
class Gauges:
    """Looks at all members that run, again and again. A worker's last metrics stay when it is gone."""

    members: Callable[[], Iterable[Member]]
    every: float = 0.5
    last: dict[int, Metrics] = field(default_factory=dict)
    sizes: list[Size] = field(default_factory=list)

    def total(self, name: str) -> float:
        """A metric over all workers that there were."""
        return sum(metrics.get(name, 0) for metrics in self.last.values())

    def counts(self) -> Counter[str]:
        """What workers counted of what the fault suite looks for."""
        return Counter({name: int(self.total(metric)) for name, metric in _COUNTED.items()})

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(self.every)

    async def look(self) -> None:
        """Once."""
        now = asyncio.get_running_loop().time()
        running = [member for member in self.members() if member.code is None]
        for member in running:
            with suppress(psutil.Error):
                process = psutil.Process(member.pid)
                connected = sum(one.status == psutil.CONN_ESTABLISHED for one in process.net_connections("tcp"))
                self.sizes.append(Size(now, member.pid, process.memory_info().rss, process.num_fds(), connected))
        await asyncio.gather(*(self._ask(member) for member in running if "PROJECTOR_METRICS_PORT" in member.settings))

    async def _ask(self, member: Member) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_ANSWER):
                if found := parsed(await _page(int(member.settings["PROJECTOR_METRICS_PORT"]))):
                    self.last[member.pid] = found


@dataclass
class Offsets:
    """Looks once a second where the fleet stands, past whatever a fault puts between it and its services: what Kafka
    was told is never ahead of the checkpoints, and neither goes back. `wrong` has a line for each look that says
    otherwise; `looks` counts those that saw both. While a service is away there is nothing to be seen.
    """

    told: Callable[[], Awaitable[Ends]]  # what Kafka was told
    database: Callable[[], str]  # its URL; a failover changes it
    every: float = 1.0
    looks: int = 0
    wrong: list[str] = field(default_factory=list)
    _told: Ends = field(default_factory=dict)
    _stood: Ends = field(default_factory=dict)

    async def run(self) -> None:
        while True:
            with suppress(*_AWAY):
                await self.look()
            await asyncio.sleep(self.every)

    async def look(self) -> None:
        """Once. Kafka first: what it was told by then, the checkpoints have passed by the time they are read."""
        async with asyncio.timeout(_LOOK):
            told = await self.told()
        async with asyncio.timeout(_LOOK):
            stood = await _checkpoints(self.database())
        self.compare(told, stood)

    def compare(self, told: Ends, stood: Ends) -> None:
        """Hold a look against itself and the one before."""
        self.looks += 1
        for place, offset in told.items():
            if offset > stood.get(place, 0):
                self.wrong.append(f"{place}: Kafka was told {offset}, the checkpoint stood at {stood.get(place, 0)}")
        self.wrong += _back("what Kafka was told", self._told, told) + _back("the checkpoint", self._stood, stood)
        self._told |= told
        self._stood |= stood


def _back(what: str, before: Ends, now: Ends) -> list[str]:
    return [
        f"{place}: {what} went back from {before[place]} to {offset}"
        for place, offset in now.items()
        if offset < before.get(place, 0)
    ]


async def _checkpoints(url: str) -> Ends:
    connection = await asyncpg.connect(url, timeout=_LOOK)
    try:
        rows = await connection.fetch(_CHECKPOINTS)
        return {Place(row["topic"], row["partition"]): row["next_offset"] for row in rows}
    finally:
        connection.terminate()  # a polite end waits for a server that may be frozen by now


def parsed(text: str) -> Metrics:
    """Prometheus's text form."""
    found: Metrics = {}
    for name, labels, value in _SAMPLE.findall(text):
        for key in {name, name + labels}:
            found[key] = found.get(key, 0) + float(value)
    return found


async def _page(port: int) -> str:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return (await reader.read()).decode()
    finally:
        writer.close()
