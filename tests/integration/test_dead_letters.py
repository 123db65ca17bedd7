"""Dead letters as people handle them: found, looked at, given up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from consumer.discard import Discarded, discard
from consumer.letters import Behind, Selection, State, find, show, states
from consumer.reference import Event, Tombstone
from runtime import postgres
from runtime.settings import load
from runtime.sql import Queries
from tests.support.engine import Engine, attributes, engine, placed
from tests.support.redelivery import confirmed, letters, of_version, retry, run_as_older


@pytest_asyncio.fixture
async def fed(database_url: str) -> AsyncIterator[Engine]:
    async with engine(database_url) as made:
        yield made


async def give_up(fed: Engine, *ids: int, execute: bool = True) -> list[Discarded]:
    return await discard(fed.pool, ids, why="sent by mistake", by="ada", execute=execute)


async def listed(fed: Engine, *, resolved_too: bool = False, most: int = 50, **selected: Any) -> list[dict[str, Any]]:
    async with fed.pool.acquire() as connection:
        return await find(connection, Selection(**selected), resolved_too=resolved_too, most=most)


async def blocked(fed: Engine) -> int:
    """An order that stands at 1, a letter at version 2, two events parked behind it; the letter's id."""
    fed.send(placed("a"), placed("a", 2, id_="again"), confirmed("a", 3), attributes("a", 4, "order.delivered"))
    await fed.run()
    [letter] = await letters(fed)
    return int(letter["id"])


async def test_letters_are_found_by_reason_order_and_type_the_newest_first(fed: Engine) -> None:
    fed.send(placed("a"), confirmed("a", 1, id_="x"), placed("a", 1, id_="y"), confirmed("b", 1))
    await fed.run()
    assert [one["event_id"] for one in await listed(fed)] == ["b-1", "y", "x"]
    assert [one["event_id"] for one in await listed(fed, most=1)] == ["b-1"]
    assert [one["event_id"] for one in await listed(fed, reason="version_conflict")] == ["y", "x"]
    assert [one["event_id"] for one in await listed(fed, order_id="b")] == ["b-1"]
    assert [one["event_id"] for one in await listed(fed, event_type="order.placed")] == ["y"]


async def test_a_letter_says_how_it_stands_how_often_it_was_tried_and_why_in_vain(fed: Engine) -> None:
    letter = await blocked(fed)
    await retry(fed)
    [one] = await listed(fed)
    assert (one["state"], one["attempts"], one["reason"]) == ("open", 2, "invalid_history")
    assert one["last_error"] == one["error"]
    assert one["last_attempt_at"] > one["created_at"]
    await give_up(fed, letter)
    assert await listed(fed) == []
    [one] = await listed(fed, resolved_too=True)
    assert (one["state"], one["resolved_by"], one["resolution_note"]) == ("discarded", "ada", "sent by mistake")
    async with fed.pool.acquire() as connection:
        whole = await show(connection, letter)
    assert whole is not None
    assert {**one, "bytes": None} == {**{name: whole.get(name) for name in one}, "bytes": None}


async def test_a_discarded_event_stays_known_and_is_never_retried(fed: Engine) -> None:
    letter = await blocked(fed)
    await give_up(fed, letter)
    fed.start()
    fed.send(placed("a", 2, id_="again"), partition=3)
    assert +(await fed.run()).counts == {"duplicate": 1}
    assert await retry(fed, letter) == []
    assert len(await letters(fed)) == 1


async def test_discarding_what_blocks_an_order_says_what_stays_parked(fed: Engine) -> None:
    letter = await blocked(fed)
    [told] = await give_up(fed, letter, execute=False)
    assert told == Discarded(letter, "invalid_history", "a", 2, Behind(parked=2, waits_for=2))
    assert told.blocks
    assert [one["resolution"] for one in await letters(fed)] == [None]  # it was only asked
    assert await give_up(fed, letter) == [told]
    freed = [confirmed("a", 2, id_="instead")]
    fed.send(*freed)
    assert (await fed.run()).counts["applied"] == 3


async def test_discarding_what_blocks_nothing_says_nothing_of_it(fed: Engine) -> None:
    await blocked(fed)
    fed.send(confirmed("a", 1, id_="rival"), confirmed("b", 1))
    await fed.run()
    _, rival, alone = [letter["id"] for letter in await letters(fed)]
    told = await give_up(fed, rival, alone)
    assert [(one.letter, one.blocks) for one in told] == [(rival, False), (alone, False)]


async def test_an_unreadable_record_may_be_what_its_order_waits_for(fed: Engine) -> None:
    fed.append(b"{", key=b"a")
    fed.send(confirmed("a", 2))
    fed.append(b"{", key=b"b")
    await fed.run()
    told = await give_up(fed, *[letter["id"] for letter in await letters(fed)])
    assert [(one.version, one.behind, one.blocks) for one in told] == [
        (None, Behind(1, 1), True),
        (None, Behind(), False),
    ]


async def test_only_open_letters_are_discarded_and_each_keeps_its_first_end(fed: Engine) -> None:
    fed.send(placed("a"), confirmed("b", 1))
    await run_as_older(fed, of_version(1))
    first, second = [letter["id"] for letter in await letters(fed)]
    await retry(fed, first)
    await give_up(fed, second)
    assert await discard(fed.pool, [first, second, 10**12], why="other", by="bob", execute=True) == []
    async with fed.pool.acquire() as connection:
        assert await states(connection, [first, second, 10**12]) == {
            first: State("retried", "tester", "applied"),
            second: State("discarded", "ada", "sent by mistake"),
        }


async def test_erasure_takes_discarded_letters_too(fed: Engine) -> None:
    letter = await blocked(fed)
    await give_up(fed, letter)
    fed.append(None, key=b"a")
    await fed.run()
    assert await letters(fed) == []
    assert await fed.differences([Event(placed("a")), Tombstone("a")]) == []


async def test_a_letter_that_somebody_resolved_by_hand_is_nobody_elses(fed: Engine) -> None:
    letter = await blocked(fed)
    await fed.value("UPDATE projector.dead_letters SET resolved_at = now()")
    assert await retry(fed, letter) == []
    assert await give_up(fed, letter) == []
    [one] = await listed(fed, resolved_too=True)
    assert one["state"] == "resolved"
    fed.send(placed("a", 2, id_="again"), partition=3)
    assert +(await fed.run()).counts == {"duplicate": 1}


_RECORD = [["x"], ["o"], ["e"], ["/s"], ["t"], [1], ["01900000-0000-7000-8000-000000000000"], [1]]
_PLACE = [["orders.events"], [0], [0], [0], ["why"], [None], [b"v"], ["{}"]]


@pytest.mark.parametrize(
    ("file", "query", "arguments"),
    [
        ("queries.sql", "letters_add", [*_RECORD, *_PLACE]),
        ("letters.sql", "letters_open", [[1, 2]]),
        ("letters.sql", "letters_page", [0, "unreadable", None, None, 20]),
        ("letters.sql", "letters_take", [[1], ["o"], ["e"], ["/s"], ["t"], [1], "me"]),
        ("letters.sql", "letters_note", [[1], ["applied"]]),
        ("letters.sql", "letters_failed", [[1], "why"]),
        ("letters.sql", "letters_forget", [[1]]),
        ("letters.sql", "letters_discard", [[1], "me", "why"]),
        ("letters.sql", "orders_behind", [["o"]]),
    ],
)
async def test_letters_are_reached_by_key_before_any_statistics(
    database_url: str, file: str, query: str, arguments: list[Any]
) -> None:
    sql = Queries("consumer", file)[query]
    async with postgres.pool(load({}, database_url=database_url), "test", 1) as pool, pool.acquire() as connection:
        plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {sql}", *arguments))
    assert "Seq Scan" not in plan, plan
