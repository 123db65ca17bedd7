"""Rebuilds beside a shop that goes on: all that it was told, and what happens at each step of a rebuild.

Where the events come from is an argument: `source` makes it of the settings.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from consumer import reference
from consumer.install import install
from consumer.read_models import READ_MODELS, ReadModel
from consumer.rebuild.journal_source import FromJournal
from consumer.rebuild.run import Rebuild
from consumer.rebuild.terms import From, Options, Outcome
from producer.simulation import Delivery, Meaning
from runtime.failpoints import Failpoints
from runtime.settings import Settings
from schemas.connection import Connection
from schemas.events import StoredRecord
from schemas.wire import decode
from tests.support.engine import TOPIC, Engine, engine, structured
from tests.support.rebuilds import settings_of
from tests.support.streams import Meant, Stream, stream

Source = Callable[[Settings], From]
Step = Callable[[], Awaitable[Any]]

PATIENCE = 120  # seconds
POINTS = (
    "rebuild_created",
    "rebuild_capture",
    "rebuild_bulk",
    "rebuild_indexed",
    "rebuild_catch_up",
    "rebuild_compare",
)  # at which nobody waits for the rebuild
_LOCAL = 99  # the partition that records have which came through none


class Steps(Failpoints):
    """Does something of the test's own at points of a rebuild. `reached` has all that were, in order."""

    def __init__(self, at: Mapping[str, Step]) -> None:
        super().__init__()
        self.reached: list[str] = []
        self._at = at

    async def reach(self, name: str) -> None:
        self.reached.append(name)
        if name in self._at:
            await self._at[name]()


def journal(size: int = 7) -> Source:
    """The journal, in ranges of so many events."""
    return lambda settings: FromJournal(settings, size)


async def rebuild(
    url: str,
    *names: str,
    at: Mapping[str, Step] | Steps | None = None,
    source: Source | None = None,
    models: Sequence[ReadModel] = READ_MODELS,
    settings: Settings | None = None,
    **options: Any,
) -> Outcome:
    """A rebuild in this process, with what is to happen at its steps."""
    settings = settings or settings_of(url)
    asked = Options(names=names, **{"processes": 0, **options})
    made = Rebuild(settings, (source or journal())(settings), asked, models)
    made._failpoints = at if isinstance(at, Steps) else Steps(at or {})
    async with asyncio.timeout(PATIENCE):
        return await made.run()


class Shop:
    """An engine with all that it was told, in the order of arrival."""

    def __init__(self, fed: Engine) -> None:
        self.fed = fed
        self.meant: list[Meant] = []
        self._local = 0

    async def tell(self, *events: dict[str, Any], partition: int = 0) -> None:
        """Have events applied, in a batch."""
        self.fed.send(*events, partition=partition)
        self.meant += map(reference.Event, events)
        await self.fed.run()

    async def erase(self, *orders: str) -> None:
        """Have orders erased."""
        for order in orders:
            self.fed.append(None, key=order.encode())
            self.meant.append(reference.Tombstone(order))
        await self.fed.run()

    async def give(self, deliveries: Iterable[Delivery], partition: int = 0) -> None:
        """Have records applied, in a batch."""
        for one in deliveries:
            self.fed.append(one.value, key=one.key, partition=partition)
            log = self.fed.logs[partition]
            log[-1] = log[-1]._replace(headers=tuple(one.headers))
            self.meant += Stream([one]).meant
        await self.fed.run()

    async def write(self, *events: dict[str, Any]) -> None:
        """Have events applied beside the partitions, as a writer does that never saw Kafka."""
        await self.write_all(_delivery(event) for event in events)

    async def write_all(self, deliveries: Iterable[Delivery]) -> None:
        """The same of records."""
        items = []
        for one in deliveries:
            self._local += 1
            items.append(decode(StoredRecord(TOPIC, _LOCAL, self._local, 0, one.key, one.value, tuple(one.headers))))
            self.meant += Stream([one]).meant
        await self.fed.processor.process(items, {})

    async def differences(self) -> list[str]:
        """What isn't as the reference model says, after all that it was told."""
        return await self.fed.differences(self.meant)


@asynccontextmanager
async def shop(url: str, models: Sequence[ReadModel] = READ_MODELS) -> AsyncIterator[Shop]:
    """A shop that was told nothing yet, on a database that has the schema and these read models."""
    async with engine(url, models) as made:
        async with made.pool.acquire() as connection:
            await install(connection, models)
        yield Shop(made)


class Beside:
    """A stream that goes on while something else happens, a few records at a time, by this route or that one."""

    def __init__(self, shop: Shop, seed: int, orders: int = 150, **plan: Any) -> None:
        usual = {"duplicates": 0.1, "shuffle": 0.05, "poison": 5, "tombstones": 10, "window": 40, "topic": TOPIC}
        self._deliveries = list(stream(orders, seed, **{**usual, **plan}).deliveries)
        self._shop = shop
        self._random = Random(seed)

    @property
    def over(self) -> bool:
        return not self._deliveries

    async def more(self, most: int = 40) -> None:
        """Some more of it."""
        some, self._deliveries = self._deliveries[:most], self._deliveries[most:]
        if some and self._random.random() < 0.2:
            await self._shop.write_all(some)
        else:
            await self._shop.give(some, self._random.randrange(3))

    async def rest(self) -> None:
        """All of it that is left."""
        while not self.over:
            await self.more()


def _delivery(event: dict[str, Any]) -> Delivery:
    return Delivery(event["subject"].encode(), structured(event), [], Meaning("event", event, event["subject"]))


async def leftovers(fed: Engine | Connection) -> list[str]:
    """What of a rebuild is still there that should not be, once it has ended."""
    found = {
        "a schema": "SELECT nspname FROM pg_namespace WHERE nspname IN ('projector_shadow', 'projector_swapping')",
        "a trigger": "SELECT tgname FROM pg_trigger WHERE tgfoid = 'projector.touch_orders()'::regprocedure",
        "a noted order": "SELECT order_id FROM projector.touched_orders LIMIT 3",
        "a running record": "SELECT id::text FROM projector.rebuilds WHERE state IN ('running', 'cancelling')",
    }
    return [f"{what}: {next(iter(row.values()))}" for what, query in found.items() for row in await fed.fetch(query)]
