"""A worker that runs beside the test, in the test's process, and can be cut off at the worst moments."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Any, Literal

from consumer.checkpoints import Place
from consumer.observation import Observation
from consumer.read_models import ReadModel
from consumer.worker import Worker
from producer.publish import publish
from producer.simulation import Delivery
from runtime import postgres
from runtime.kafka import log_ends, observer, partitions_of
from runtime.settings import Settings, load
from runtime.sql import Queries
from schemas.connection import Pool
from testkit.databases import apply_migrations
from testkit.deadline import eventually
from testkit.delivery import Deliveries, Restart, Told, as_delivery
from testkit.loop import LoopThread

_SQL = Queries("testkit", "queries.sql")

_AGAIN = 2.0  # seconds after which a worker that was cut off and goes on is cut off again
_JOIN = 10.0  # seconds to have partitions: a broker may let a new group wait for three
_GOODBYE = 20.0  # seconds for a worker to end when it is told to

# Small batches, so that a few hundred events are several; whatever host the services of the tests are on is fine.
_DEFAULTS = {"batch_size": 50, "session_timeout": 6.0, "allow_plaintext": True}


class RunningWorker:
    """One worker at a time: when it is cut off, the next one takes over. Await its methods in any loop; in a test
    without one, `asyncio.run(worker.deliver(events))`."""

    def __init__(self, settings: Settings, models: Sequence[ReadModel], loop: LoopThread) -> None:
        self.settings = settings
        self.models = models
        self.restarts = 0  # workers that took over from one that was cut off or died at a commit
        self.note: Callable[[str], None] = lambda text: None
        self._loop = loop
        self._failure_told = False
        self._doomed: asyncio.Future[None] | None = None  # the worker that is to die at its first commit
        self._observation = Observation()
        self._resources = AsyncExitStack()

    @property
    def counts(self) -> Counter[str]:
        """Records by what became of them (`applied`, `duplicate`, …), as far as workers lived to tell."""
        return self._observation.counts.copy()

    async def deliver(self, told: Iterable[Told], timeout: float = 60) -> None:
        """Send events, or what `deliver_badly` made of them, and wait until all of it is applied; at a restart, until
        the worker has ended. Each wait lasts `timeout` seconds at most."""
        if isinstance(told, Deliveries):
            self.note(repr(told))
        await self._loop.call(self._deliver(told, timeout))

    async def caught_up(self, timeout: float = 30) -> None:
        """Wait until everything that is in the topics by now is applied, whoever sent it."""
        await self._loop.call(self._caught_up(timeout))

    async def restart(self, at: Literal["before", "after"] = "before", timeout: float = 60) -> None:
        """Cut the worker off wherever it is. The next one dies at its first commit, a third one goes on."""
        await self._loop.call(self._restart(at, timeout))

    async def _start(self) -> None:
        await apply_migrations(self.settings.database_url.get_secret_value(), self.models)
        pool = postgres.pool(self.settings, "projector-testkit", self.settings.lanes + 2)
        self._pool: Pool = await self._resources.enter_async_context(pool)
        self._stop, self._armed = asyncio.Event(), ""  # for the next worker: where it is to die
        self._working = self._next()
        self._serving = asyncio.ensure_future(self._serve())

    async def _end(self) -> None:
        with suppress(AssertionError):
            await self._at_work()
        self._stop.set()
        stopped, _ = await asyncio.wait([self._serving], timeout=_GOODBYE)
        self._working.cancel()
        self._serving.cancel()
        await self._resources.aclose()
        assert stopped, "the worker didn't stop"
        if not self._failure_told:
            self._serving.result()

    def _next(self) -> asyncio.Future[None]:
        """A worker in place of the last one, with the failpoint that was armed for it. In a group of its own: where it
        begins is in PostgreSQL, and the embedded broker is slow to see that somebody has left."""
        group = f"{self.settings.group_id}-{self.restarts}"
        settings = self.settings.model_copy(update={"failpoints": self._armed, "group_id": group})
        worker = Worker(settings, self._pool, "testkit", self._observation, self.models)
        self._seen = self._assignments()
        working = asyncio.ensure_future(worker.run(self._stop))
        self._doomed, self._armed = working if self._armed else None, ""
        return working

    async def _serve(self) -> None:
        """Worker after worker, until told to stop or one fails by itself."""
        while True:
            await asyncio.wait([self._working])
            if _failed_by_itself(self._working):
                return self._working.result()
            if self._stop.is_set():  # one that was cut off, or armed to die, had no time for a successor
                return None
            self.restarts += 1
            self._working = self._next()

    async def _restart(self, at: str, timeout: float) -> None:
        await self._at_work()
        self._armed = f"{at}_db_commit=raise"
        over = self._working

        async def cut_off() -> bool:
            # Once is not always enough: before Python 3.12 wait_for drops a cancellation that comes just as it ends.
            over.cancel()
            await asyncio.wait([over], timeout=min(_AGAIN, timeout))
            assert over.done(), "the worker goes on though it was cut off"
            return True

        await eventually(cut_off, timeout)

    async def _at_work(self) -> None:
        """Wait until the worker has its partitions. Cut off before, aiokafka leaves connections open."""
        await eventually(lambda: self._working.done() or self._assignments() > self._seen, _JOIN)

    def _assignments(self) -> float:
        """How often this worker and those before it were given partitions."""
        return self._observation.registry.get_sample_value("projector_rebalances_total") or 0

    async def _deliver(self, told: Iterable[Told], timeout: float) -> None:
        records: list[Delivery] = []
        for one in told:
            if isinstance(one, Restart):
                await self._publish(records)
                if self._doomed is not None:  # let it come to its commit, if there is anything to commit
                    await self._caught_up(timeout, self._doomed)
                await self._restart(one.at, timeout)
                records = []
            else:
                records.append(as_delivery(one))
        await self._publish(records)
        await self._caught_up(timeout)
        if records and (doomed := self._doomed) is not None:  # it has committed, and ends in a moment
            await eventually(lambda: self._working is not doomed or self._serving.done(), timeout)

    async def _publish(self, records: Sequence[Delivery]) -> None:
        if records:
            await publish(self.settings, self.settings.topics[0], records)

    async def _caught_up(self, timeout: float, unless: asyncio.Future[None] | None = None) -> None:
        """Unless this worker has ended before."""
        async with observer(self.settings) as consumer:
            found = await log_ends(consumer, await partitions_of(consumer, self.settings.topics))
        ends = {Place(*place): log.end for place, log in found.items() if log.end > log.first}

        async def there() -> bool:
            if unless is not None and unless.done():
                return True
            if self._serving.done():
                self._failure_told = True
                self._serving.result()
            async with self._pool.acquire() as connection:
                rows = await connection.fetch(_SQL["checkpoints"])
            stands = {Place(row["topic"], row["partition"]): row["next_offset"] for row in rows}
            behind = {place: (stands.get(place, 0), end) for place, end in ends.items() if stands.get(place, 0) < end}
            assert not behind, f"behind, by partition (stands at, end): {behind}"
            return True

        await eventually(there, timeout)


def worker_of(loop: LoopThread, models: Sequence[ReadModel], given: Mapping[str, Any]) -> RunningWorker:
    """A worker that isn't running yet. `given` are settings by field, `topics` among them."""
    if unknown := given.keys() - Settings.model_fields.keys():
        raise TypeError(f"no such settings of a worker: {', '.join(sorted(unknown))}")
    group = f"group-{given['topics'][0]}"
    return RunningWorker(load({}, **{**_DEFAULTS, "group_id": group, **given}), models, loop)


@contextmanager
def running(worker: RunningWorker) -> Iterator[None]:
    """Lets it run for as long as the context lasts; what it failed with, unless somebody has been told, is raised."""
    worker._loop.run(worker._start())
    try:
        yield
    finally:
        worker._loop.run(worker._end())


def _failed_by_itself(worker: asyncio.Future[None]) -> bool:
    if worker.cancelled() or (error := worker.exception()) is None:
        return False
    return not (isinstance(error, RuntimeError) and str(error).startswith("failpoint "))
