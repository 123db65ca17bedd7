"""`projector verify` where dead letters have decided, or were tried again: what only live can know is no difference."""

from __future__ import annotations

import asyncpg
import pytest
import pytest_asyncio

from consumer.install import install
from consumer.letters import Selection, discard, selected
from schemas.events import Decoded, Event
from testkit.plugin import MakeTopic
from tests.support.engine import placed
from tests.support.events import Rec, record
from tests.support.fleet import settings_for
from tests.support.redelivery import BROKEN, MENDED, confirmed, shipped
from tests.support.streams import deliveries_of
from tests.support.verification import World, counted, told

pytestmark = pytest.mark.apache_kafka


@pytest_asyncio.fixture
async def world(kafka_bootstrap: str, database_url: str, make_topic: MakeTopic) -> World:
    """One of its read models fails on what Bad & Co ship."""
    connection = await asyncpg.connect(database_url)
    await install(connection, BROKEN)
    await connection.close()
    return World(settings_for(kafka_bootstrap, database_url, await make_topic(partitions=3)), BROKEN)


async def give_up(world: World) -> None:
    """Discard all open letters."""
    async with world.pool() as pool, pool.acquire() as connection:
        ids = [letter.id async for letter in selected(connection, Selection())]
        await discard(connection, ids, "tester", "test")


async def clean(world: World) -> dict[str, int]:
    for source in ("journal", "log"):
        found = await world.verify(source=source, size=1)
        assert told(found) == [], source
    return counted(found)


def unread(item: Decoded) -> bool:
    return isinstance(item, Event) and item.version == 2


async def test_what_a_failing_read_model_left_out_waits_as_live_has_it(world: World) -> None:
    await world.tell(placed("a"), shipped("a", 2), confirmed("a", 3), placed("b"))
    await world.tell(shipped("a", 2), partition=1)  # a copy
    await world.apply(0, 1)
    counts = await clean(world)
    assert (counts["dead_letters"], counts["parked_events"], counts["order_timeline"]) == (1, 1, 2)
    assert (await world.verify()).left_to_letters.count == 1
    await give_up(world)
    await clean(world)
    await world.tell(confirmed("a", 2, id_="another"))
    await world.apply(0)
    assert (await clean(world))["order_timeline"] == 4


async def test_what_was_retried_is_applied_with_what_waited(world: World) -> None:
    await world.tell(placed("a"), shipped("a", 2), confirmed("a", 3))
    await world.apply(0)
    world.models = MENDED
    assert [one.applied for one in await world.retry()] == [2]
    counts = await clean(world)
    assert (counts["dead_letters"], counts["parked_events"], counts["order_timeline"]) == (0, 0, 3)
    assert (await world.verify()).only_in_database.count == 0


async def test_a_retry_comes_after_the_rival_that_took_its_version(world: World) -> None:
    """Though in the partition it stands before."""
    await world.tell(placed("a"), shipped("a", 2), confirmed("a", 2, id_="rival"))
    await world.apply(0)
    world.models = MENDED
    await world.retry()
    counts = await clean(world)
    assert (counts["dead_letters"], counts["order_timeline"]) == (1, 2)


async def test_an_erasure_on_which_a_read_model_failed_has_not_happened(world: World) -> None:
    await world.tell(placed("a"), confirmed("a", 2), placed("b"))
    await world.apply(0)
    await world.execute("UPDATE projector.orders SET carrier = 'Bad & Co' WHERE order_id = 'a'")
    await world.erase("a")
    await world.apply(0)
    await world.execute("UPDATE projector.orders SET carrier = NULL")
    assert await world.fetch("SELECT reason FROM projector.dead_letters") == [("projection_error",)]
    await clean(world)
    world.models = MENDED
    await world.retry()
    assert (await clean(world))["order_summary"] == 1


@pytest.mark.parametrize("then", ["open", "discarded", "retried"])
async def test_what_an_older_version_could_not_read_is_as_its_letter_says(world: World, then: str) -> None:
    await world.tell(placed("a"), confirmed("a", 2), confirmed("a", 3), placed("b"))
    await world.tell(confirmed("b", 3), confirmed("b", 2, id_="waits"), partition=1)
    await world.apply(0, 1, refuses=unread)
    counts = await clean(world)
    assert (counts["dead_letters"], counts["parked_events"]) == (2, 2)
    if then == "discarded":
        await give_up(world)
    if then == "retried":
        await world.retry()
    counts = await clean(world)
    assert (counts["dead_letters"], counts["order_timeline"]) == ((0, 6) if then == "retried" else (2, 2))


async def test_a_value_that_postgresql_refuses_is_as_its_letter_says(world: World) -> None:
    await world.execute("ALTER TABLE projector.ledger ADD CONSTRAINT small CHECK (version <> 2)")
    await world.tell(placed("a"), confirmed("a", 2), confirmed("a", 3))
    await world.tell(confirmed("a", 2), partition=1)
    await world.apply(0, 1)
    counts = await clean(world)
    assert (counts["dead_letters"], counts["parked_events"]) == (2, 1)


async def test_refusals_and_conflicts_are_the_references_to_decide(world: World) -> None:
    rivals = [confirmed("a", 1, id_="early"), placed("a"), placed("a", id_="rival"), placed("a", 2, id_="again")]
    await world.tell(*rivals, *rivals, confirmed("a", 2), partition=1)
    await world.apply(1)
    assert await world.fetch("SELECT reason FROM projector.dead_letters ORDER BY id") == [
        ("invalid_history",),
        ("version_conflict",),
        ("invalid_history",),
    ]
    assert (await clean(world))["dead_letters"] == 3
    await world.retry()
    assert await world.fetch("SELECT DISTINCT reason FROM projector.dead_letters") == [("version_conflict",)]
    await clean(world)


async def test_records_that_name_no_order_have_their_letters(world: World) -> None:
    nameless = [Rec(key=None, value=b"{"), Rec(key=b"", value=b""), Rec(key=b"")]
    await world.send(deliveries_of([*nameless, record(order="a"), Rec(value=b"x")]), partition=2)
    await world.apply(2)
    assert (await clean(world))["dead_letters"] == 4
    await world.execute("DELETE FROM projector.dead_letters WHERE order_id IS NULL")
    missing = await world.verify()
    assert len(told(missing)) == 3
    assert told(missing)[0].startswith(f"dead_letters  {world.topic}/")
    assert (await world.verify(names=("order_summary",))).differences == 0


async def test_letters_of_another_topic_are_told_and_no_difference(world: World) -> None:
    await world.send(deliveries_of([Rec(key=None, value=b"{"), Rec(value=b"x")]), partition=0)
    await world.apply(0)
    await world.execute(
        "INSERT INTO projector.checkpoints (topic, partition, next_offset) VALUES ('elsewhere', 0, 5)",
        "UPDATE projector.dead_letters SET topic = 'elsewhere'",
    )
    found = await world.verify()
    assert (found.letters_without_record.count, len(told(found))) == (2, 2)
    assert "elsewhere" in found.not_checked


async def test_letters_are_met_in_step_however_many_there_are(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.verification.snapshot._PAGE", 2)
    records = [Rec(key=b"k" if n % 3 else None, value=b"{") if n % 4 else record(order=f"o-{n}") for n in range(40)]
    for partition in range(3):
        await world.send(deliveries_of(records[partition::3]), partition=partition)
    await world.apply(0, 1, 2)
    assert (await clean(world))["dead_letters"] == 30
    await world.execute("DELETE FROM projector.dead_letters WHERE id % 3 = 0")
    assert len(told(await world.verify())) == 10
