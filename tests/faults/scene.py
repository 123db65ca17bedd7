"""One run of a fault: a fleet at work on a topic and a database of its own, and what is known of it from outside."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from aiokafka import AIOKafkaProducer

from consumer.checkpoints import Place
from consumer.reference import Settled
from producer.simulation import Delivery
from runtime.embedded.ports import free_port
from runtime.kafka_tasks import stopped
from schemas.connection import Connection
from testkit.deadline import eventually
from tests.faults.gauges import Gauges, Offsets
from tests.faults.load import Load, Log
from tests.faults.stage import Stage
from tests.support.fleet import Fleet, Member, fleet, stands
from tests.support.streams import Ends, Stream

SESSION = 6.0  # seconds: the fleet's session time-out
_STANDING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'projector-worker'
      AND (state = 'idle in transaction' OR wait_event_type = 'Lock')
      AND clock_timestamp() - state_change > make_interval(secs => $1)
"""
_LARGEST = 16 * 1024 * 1024  # bytes of a record
_LONG = 60.0  # seconds to wait for what should take two


@dataclass
class Scene:
    """What a fault plays with. All chance comes from `random`, so that the seed repeats it.

    `evidence` counts what happened: a fault adds what only it can know, the frame what exit codes and logs say.
    `expected` is how many workers there should be: after the fault the frame starts others for those that ended.
    """

    seed: int
    stage: Stage
    topic: str
    fleet: Fleet
    load: Load
    gauges: Gauges
    random: Random
    partitions: int
    expected: int = 0
    evidence: Counter[str] = field(default_factory=Counter)
    tools: dict[str, Any] = field(default_factory=dict)  # what a fault's `around` leaves for it
    healed_at: float | None = None
    offsets: Offsets = field(init=False)
    settle: Callable[[Log], Settled] = field(
        default=lambda log: log.stream.settled()
    )  # what should be there at the end

    def __post_init__(self) -> None:
        self.offsets = Offsets(self.told, lambda: self.fleet.url)

    @property
    def connection(self) -> Connection:
        """To the run's database, past everything that a fault puts between it and the workers."""
        return self.fleet.connection

    @property
    def running(self) -> list[Member]:
        """The workers that run, oldest first."""
        return [member for member in self.fleet.members if member.code is None]

    def start(self, *arguments: str, **settings: Any) -> Member:
        """One more worker, with settings of its own if need be."""
        return self.fleet.start(*arguments, **{"PROJECTOR_METRICS_PORT": free_port(), **settings})

    async def shared(self, *members: Member) -> None:
        """Wait until these workers (all that run, if none are named) share the partitions among them."""
        among = members or self.running
        await self.fleet.shared_by(*among, owners=min(len(among), self.partitions), timeout=_LONG)

    def breaking(self) -> None:
        """A fault begins."""
        self.healed_at = None

    def healed(self) -> None:
        """The fault is over: from now on the clock runs."""
        self.healed_at = time.monotonic()

    async def send(self, what: Stream | Iterable[Delivery], partition: int | None = None) -> None:
        """Send records beside the load. Where they end, the frame works out."""
        await self.load.send(what.deliveries if isinstance(what, Stream) else what, partition)

    async def told(self) -> Ends:
        """How far Kafka was told that the fleet is, where it was told anything."""
        async with self.stage.admin() as admin:
            found = await admin.list_consumer_group_offsets(str(self.fleet.settings["PROJECTOR_GROUP_ID"]))
        return {Place(*partition): known.offset for partition, known in found.items()}

    async def applied(self) -> int:
        """How many records lie below the checkpoints."""
        return sum((await stands(self.connection, self.load.log.ends)).values())

    async def works(self, records: int = 100, timeout: float = _LONG) -> None:
        """Wait until the fleet has got on by so many records: it is in the middle of the work."""
        before = await self.applied()

        async def further() -> bool:
            return await self.applied() >= before + records

        await eventually(further, timeout, 0.02)

    async def replace(self) -> None:
        """Start as many workers as there should be."""
        for _ in range(self.expected - len(self.running)):
            self.start()

    async def in_transaction(self, seconds: float = 0.3) -> None:
        """Wait until a worker has stood still inside a transaction for so long."""

        async def found() -> bool:
            return bool(await self.connection.fetchval(_STANDING, seconds))

        await eventually(found, _LONG, 0.02)


@asynccontextmanager
async def _producing(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    """A producer that ends in time, though a failed run may have left it without its broker."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        enable_idempotence=True,  # else a broker that is killed has records twice, and broken ones have two letters
        acks="all",
        request_timeout_ms=120_000,  # a broker may be frozen for longer than the usual 40 s
        linger_ms=5,
        max_request_size=_LARGEST,
    )
    try:
        await producer.start()
        yield producer
    finally:
        await stopped(producer)


@asynccontextmanager
async def scene(stage: Stage, seed: int, partitions: int, **settings: Any) -> AsyncIterator[Scene]:
    """A scene without workers; nothing of it is left when the context ends."""
    own = {"PROJECTOR_SESSION_TIMEOUT": SESSION, "PROJECTOR_BATCH_SIZE": 100, **settings}
    async with (
        stage.topic(partitions) as topic,
        stage.database() as url,
        fleet(stage.bootstrap, url, topic, **own) as workers,
        _producing(stage.bootstrap) as producer,
    ):
        load, gauges = Load(producer, topic), Gauges(lambda: workers.members)
        made = Scene(seed, stage, topic, workers, load, gauges, Random(seed), partitions)
        looking = [asyncio.ensure_future(one.run()) for one in (gauges, made.offsets)]
        try:
            yield made
        finally:
            for task in looking:
                task.cancel()
            await asyncio.gather(*looking, load.cancel(), return_exceptions=True)
