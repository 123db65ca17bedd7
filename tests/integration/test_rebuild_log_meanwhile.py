"""Rebuilds from a real log while a worker goes on, and killed on the way: what was written meanwhile is all there."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from consumer.rebuild.log_source import FromLog
from consumer.rebuild.rollback import rollback
from runtime.settings import Settings
from testkit.plugin import MakeTopic
from tests.support.engine import Engine, engine
from tests.support.fleet import Running, settings_for, working
from tests.support.rebuilding import POINTS, Source, Steps, leftovers, rebuild
from tests.support.streams import Ends, Stream, publish, stream

pytestmark = pytest.mark.apache_kafka


class Killed(BaseException):
    """As by SIGKILL."""


async def killed() -> None:
    raise Killed


@pytest_asyncio.fixture
async def settings(kafka_bootstrap: str, database_url: str, make_topic: MakeTopic) -> Settings:
    return settings_for(kafka_bootstrap, database_url, await make_topic(partitions=3))


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Engine]:
    async with engine(database_url) as made:
        yield made


def log(processes: int = 0) -> Source:
    """The log, in small ranges and chunks."""
    return lambda settings: FromLog(settings, None, processes, 40, 50)


class Sending:
    """A shop's stream into the topic, a part at a time; each part is applied when `more` returns."""

    def __init__(self, settings: Settings, worker: Running, seed: int) -> None:
        [self._topic] = settings.topics
        self._bootstrap, self._worker = settings.kafka_bootstrap_servers, worker
        plan = {"duplicates": 0.1, "shuffle": 0.05, "poison": 5, "tombstones": 10, "window": 40}
        self._left = list(stream(150, seed, topic=self._topic, **plan).deliveries)
        self._ends: Ends = {}
        self._sent: list[Stream] = []

    async def more(self, most: int = 50) -> None:
        some, self._left = Stream(self._left[:most]), self._left[most:]
        self._sent.append(some)
        self._ends |= await publish(self._bootstrap, self._topic, some)
        await self._worker.caught_up(self._ends)

    async def differences(self, database: Engine) -> list[str]:
        return await database.differences([meant for some in self._sent for meant in some.meant])


@pytest.mark.parametrize("processes", [0, 2])
async def test_a_worker_that_goes_on_at_every_step_loses_nothing(
    settings: Settings, database: Engine, database_url: str, processes: int
) -> None:
    async with working(settings) as worker:
        sending = Sending(settings, worker, 91)
        await sending.more(200)
        steps = Steps(dict.fromkeys(POINTS, sending.more))
        done = await rebuild(database_url, at=steps, source=log(processes), settings=settings, processes=processes)
        assert (done.state, done.comparison.counts) == ("swapped", {})
        assert await sending.differences(database) == []
        assert await leftovers(database) == []
        await sending.more(1_000)
        assert await sending.differences(database) == []
        assert (await rollback(settings)).state == "swapped"
        await sending.more()
    assert await sending.differences(database) == []


async def test_killed_at_each_step_it_goes_on_from_there(
    settings: Settings, database: Engine, database_url: str
) -> None:
    async with working(settings) as worker:
        sending = Sending(settings, worker, 92)
        await sending.more(200)
        for point in (*POINTS, "rebuild_align", "rebuild_swap_locked", "rebuild_swap"):
            with pytest.raises(Killed):
                await rebuild(database_url, at={point: killed}, source=log(), settings=settings)
            await sending.more(20)
            assert await sending.differences(database) == []
        done = await rebuild(database_url, source=log(), settings=settings)
        assert (done.state, done.resumed, done.comparison.counts) == ("swapped", True, {})
    assert await sending.differences(database) == []
    assert await leftovers(database) == []
