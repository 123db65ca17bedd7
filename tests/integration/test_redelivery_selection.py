"""Which letters a retry means, which orders they are of, and what stands in its way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest_asyncio

from consumer.discard import discard
from consumer.processor import Processor
from consumer.projection import Projection
from consumer.reference import Event, Tombstone
from tests.support.engine import Engine, engine, placed, structured
from tests.support.redelivery import (
    BROKEN,
    MENDED,
    becomes,
    confirmed,
    fussy_engine,
    letters,
    of_version,
    retry,
    run_as_older,
    shipped,
)


@pytest_asyncio.fixture
async def fed(database_url: str) -> AsyncIterator[Engine]:
    async with engine(database_url) as made:
        yield made


@pytest_asyncio.fixture
async def fussy(database_url: str) -> AsyncIterator[Engine]:
    async with fussy_engine(database_url) as made:
        yield made


# Which order it is of


async def test_a_record_may_turn_out_to_be_of_another_order_and_is_erased_with_that(fed: Engine) -> None:
    fed.append(structured(placed("a")), key=b"another")
    await run_as_older(fed, of_version(1))
    await fed.value("UPDATE projector.dead_letters SET order_id = 'another'")  # as the key said
    [done] = await retry(fed, order_id="a")
    assert (done.order_id, done.applied) == ("a", 1)
    fed.append(None, key=b"a")
    await fed.run()
    assert await letters(fed) == []


async def test_a_letter_of_an_erased_order_is_gone_once_that_is_known(fed: Engine) -> None:
    fed.append(None, key=b"a")
    await fed.run()
    fed.send(placed("a", customer="c-9"), placed("b"))
    await run_as_older(fed, of_version(1))
    assert sorted(becomes(await retry(fed)).values()) == ["applied", "erased"]
    assert [letter["order_id"] for letter in await letters(fed)] == ["b"]
    assert await fed.differences([Tombstone("a"), Event(placed("a")), Event(placed("b"))]) == []


async def test_an_erasure_that_failed_is_made_good(fussy: Engine) -> None:
    works, fails = Processor(fussy.pool, Projection(MENDED)), fussy.processor
    sent = [placed("a"), shipped("a", 2), confirmed("a", 4), confirmed("a", 1, id_="rival")]
    fussy.send(*sent)
    fussy.processor = works
    await fussy.run()
    fussy.append(None, key=b"a")
    fussy.processor = fails
    await fussy.run()
    assert [letter["reason"] for letter in await letters(fussy)] == ["version_conflict", "projection_error"]
    [done] = await retry(fussy, reason="projection_error", models=BROKEN)
    assert [fate.becomes for fate in done.letters] == ["refused"]
    [done] = await retry(fussy, reason="projection_error", models=MENDED)
    assert ([fate.becomes for fate in done.letters], done.clean) == (["erased"], True)
    assert await fussy.differences([*map(Event, sent), Tombstone("a")]) == []
    assert await fussy.value("SELECT count(*) FROM read_model.fussy") == 0


# Which letters


async def test_letters_are_selected_by_what_they_say_and_by_what_their_record_says_now(fed: Engine) -> None:
    fed.send(placed("a"), placed("a", 2), placed("b"), placed("c", id_="x"), confirmed("c", 1, id_="y"))
    await fed.run()
    fed.send(confirmed("b", 2), placed("d"))
    await run_as_older(fed, lambda _: True)
    ids = {letter["id"]: letter["reason"] for letter in await letters(fed)}
    invalid, conflict, *unreadable = ids
    assert list(ids.values()) == ["invalid_history", "version_conflict", "unreadable", "unreadable"]

    async def meant(*given: int, **selected: Any) -> set[int]:
        return set(becomes(await retry(fed, *given, execute=False, **selected)))

    assert await meant() == set(ids)
    assert await meant(reason="unreadable") == set(unreadable)
    assert await meant(order_id="c") == {conflict}
    assert await meant(order_id="b") == {unreadable[0]}
    assert await meant(event_type="order.confirmed") == {conflict, unreadable[0]}
    assert await meant(event_type="order.placed", reason="unreadable") == {unreadable[1]}
    assert await meant(invalid, conflict, order_id="a") == {invalid}
    assert await meant(unreadable[1], 10**12) == {unreadable[1]}
    assert await meant(event_type="order.shipped") == set()


async def test_more_letters_than_are_read_at_a_time_are_all_tried(fed: Engine) -> None:
    events = [placed(f"o-{number}") for number in range(55)]
    fed.send(*events)
    await run_as_older(fed, of_version(1))
    assert len(becomes(await retry(fed, reason="unreadable"))) == 55
    assert await fed.differences([Event(event) for event in events]) == []


async def test_a_resolved_letter_is_left_alone(fussy: Engine) -> None:
    fussy.send(placed("a"), shipped("a", 2), placed("b"), shipped("b", 2))
    await fussy.run()
    first, second = [letter["id"] for letter in await letters(fussy)]
    await discard(fussy.pool, [first], why="not needed", by="tester", execute=True)
    assert becomes(await retry(fussy, models=MENDED)) == {second: "applied"}
    assert await retry(fussy, first, second, models=MENDED) == []
    assert await fussy.value("SELECT version FROM read_model.order_summary WHERE order_id = 'a'") == 1


# What goes wrong


_REFUSAL = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'too fine a value: %', NEW.data USING ERRCODE = '22003'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON projector.ledger
    FOR EACH ROW WHEN (NEW.version = 3) EXECUTE FUNCTION refuse();
"""


async def test_what_postgresql_refuses_stays_a_letter_and_the_rest_is_applied(fed: Engine) -> None:
    fed.send(*(event for order in "ab" for event in (confirmed(order, 2), placed(order))), shipped("a", 3))
    await run_as_older(fed, lambda _: True)
    async with fed.pool.acquire() as connection:
        await connection.execute(_REFUSAL)
    one, two = await retry(fed)
    assert ([fate.becomes for fate in one.letters], one.applied) == (["applied", "applied", "refused"], 2)
    assert ([fate.becomes for fate in two.letters], two.clean) == (["applied", "applied"], True)
    [left] = await fed.fetch("SELECT * FROM projector.dead_letters WHERE resolved_at IS NULL")
    assert (left["attempts"], left["reason"]) == (2, "unreadable")
    assert "22003" in left["last_error"]
    assert "too fine" not in left["last_error"]


async def test_an_order_that_is_out_of_reach_fails_alone(database_url: str) -> None:
    impatient = {"lock_timeout": "50ms"}
    async with asyncpg.create_pool(database_url, min_size=1, max_size=3, server_settings=impatient) as pool:
        fed = Engine(pool)
        fed.send(placed("a"), placed("b"), placed("a", 2), placed("b", 2), placed("c"), placed("c", 2))
        await fed.run()
        human = await asyncpg.connect(database_url)
        try:
            async with human.transaction():
                await human.execute("SELECT FROM projector.orders WHERE order_id = 'b' FOR UPDATE")
                done = await retry(fed)
        finally:
            await human.close()
        assert [letter["attempts"] for letter in await letters(fed)] == [2, 1, 2]
    assert [(one.order_id, one.failed) for one in done] == [
        ("a", None),
        ("b", "PostgreSQL: SQLSTATE 55P03"),
        ("c", None),
    ]
    assert not done[1].clean
