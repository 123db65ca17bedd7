"""Two programs on one archive: on disk one of them is first; a store can't refuse to replace, so they mend it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from pyarrow import fs

from consumer.archive_parquet import Limits
from consumer.archive_place import Place
from runtime.kafka import Ends
from runtime.settings import Settings
from testkit.plugin import MakeTopic
from tests.support.archives import archived, held, in_log, named
from tests.support.events import record
from tests.support.fleet import settings_for
from tests.support.streams import deliveries_of, publish

pytestmark = pytest.mark.apache_kafka


@pytest_asyncio.fixture
async def settings(kafka_bootstrap: str, make_topic: MakeTopic) -> Settings:
    return settings_for(kafka_bootstrap, "postgresql://localhost/none", await make_topic(partitions=1))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "archive")


def topic_of(settings: Settings) -> str:
    [topic] = settings.topics
    return topic


async def send(settings: Settings, count: int) -> None:
    what = deliveries_of([record(order=f"o-{n}") for n in range(count)])
    await publish(settings.kafka_bootstrap_servers, topic_of(settings), what, partition=0)


class Meanwhile:
    """A failpoint at which something else happens first, once."""

    def __init__(self, name: str, happening: Callable[[], Any]) -> None:
        self._name: str | None = name
        self._happening = happening

    async def reach(self, name: str) -> None:
        if name == self._name:
            self._name = None
            await self._happening()


async def test_several_at_once_leave_one_archive(settings: Settings, url: str) -> None:
    await send(settings, 60)
    await asyncio.gather(*(archived(settings, url, Limits(7)) for _ in range(3)))
    assert held(url, topic_of(settings)) == await in_log(settings)
    assert len(named(url)) == 9


@pytest.mark.parametrize("point", ["archive_records_written", "archive_file_written"])
async def test_one_that_is_overtaken_goes_on_behind_the_other(settings: Settings, url: str, point: str) -> None:
    """The other sees a longer log: its file of the same name ends later."""
    await send(settings, 5)

    async def overtake() -> None:
        await send(settings, 5)
        await archived(settings, url)

    [slow] = await archived(settings, url, failpoints=Meanwhile(point, overtake))
    assert (slow.files, slow.next) == (0, 10)
    assert named(url) == [f"{topic_of(settings)}+0+0000000000.parquet"]
    assert held(url, topic_of(settings)) == await in_log(settings)


class Slow:
    """A store in which something else happens, once, between the look at a name and the file that gets it."""

    def __init__(self, system: Any, happening: Callable[[], None]) -> None:
        self._system = system
        self._happening: Callable[[], None] | None = happening

    def __getattr__(self, name: str) -> Any:
        return getattr(self._system, name)

    def open_output_stream(self, path: str) -> Any:
        happening, self._happening = self._happening, None
        if happening:
            happening()
        return self._system.open_output_stream(path)


def spans(place: Place, topic: str) -> list[Ends]:
    return [Ends(one.first, one.end) for one in place.segments(place.files(topic))]


async def test_in_a_store_a_longer_file_that_was_replaced_is_made_up_for(settings: Settings) -> None:
    """The slow one has seen a log of 5 records. It puts its file in the place of the other's, which reached 8."""
    topic, system = topic_of(settings), fs._MockFileSystem()
    store = Place("mock://", system, "bucket")
    await send(settings, 5)

    async def overtake() -> None:
        await send(settings, 7)
        await archived(settings, store, Limits(8))

    slow = Place("mock://", Slow(system, lambda: asyncio.run(overtake())), "bucket")
    [done] = await archived(settings, slow, Limits(8))
    assert spans(store, topic) == [Ends(0, 5), Ends(5, 8), Ends(8, 12)]
    assert (done.problem, done.records, done.next) == (None, 8, 12)


async def test_in_a_store_a_hole_is_found_by_a_later_run_that_checks(settings: Settings) -> None:
    topic, system = topic_of(settings), fs._MockFileSystem()
    store = Place("mock://", system, "bucket")
    await send(settings, 30)
    await archived(settings, store, Limits(5))
    system.delete_file(store.files(topic)[1].path)
    [quick] = await archived(settings, store, Limits(5))
    assert (quick.files, quick.next) == (0, 30)
    [done] = await archived(settings, store, Limits(5), check=True)
    assert (done.files, done.first, done.next) == (1, 5, 30)
    assert spans(store, topic) == [Ends(n, n + 5) for n in range(0, 30, 5)]


async def test_in_a_store_what_is_there_twice_is_told(settings: Settings) -> None:
    """A third has gone on behind a short file before a longer one took its place. The others' partitions go on."""
    topic, system = topic_of(settings), fs._MockFileSystem()
    store = Place("mock://", system, "bucket")
    await send(settings, 5)
    await archived(settings, store)
    await send(settings, 5)
    await archived(settings, store)
    [short, _] = store.files(topic)
    system.delete_file(short.path)
    with store.staged(TopicPartition(topic, 0), 0) as staged:
        staged.file.write(await whole(settings))
        staged.publish()
    await send(settings, 1)
    [done] = await archived(settings, store)
    assert "offsets 5 to 9 are in the archive twice: move bucket/topics" in (done.problem or "")


async def whole(settings: Settings) -> bytes:
    """The file that one run makes of the whole log."""
    system = fs._MockFileSystem()
    store = Place("mock://", system, "bucket")
    await archived(settings, store)
    [file] = store.files(topic_of(settings))
    with system.open_input_file(file.path) as source:
        data: bytes = source.read()
    return data


async def test_what_else_has_a_files_name_is_told(settings: Settings, url: str) -> None:
    await send(settings, 1)
    topic = topic_of(settings)
    (Path(url) / "topics" / topic / "partition=0" / f"{topic}+0+0000000000.parquet").mkdir(parents=True)
    [done] = await archived(settings, url)
    assert "something else has this name" in (done.problem or "")
