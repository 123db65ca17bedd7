"""Commands carried out: one transaction, no hole between versions, one effect per key, whatever is cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from producer import order_json
from producer.answers import Accepted, Key, KeyInProgress, KeyReused, Refused, VersionConflict
from schemas import payload
from schemas.errors import LostRace
from testkit.deadline import eventually
from tests.support.commands import DATA, command, place
from tests.support.write_side import Till, till

_HELD = """SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND d.datname = current_database()"""
_WAITS = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"


@pytest_asyncio.fixture
async def ours(database_url: str) -> AsyncIterator[Till]:
    async with till(database_url) as found:
        yield found


async def test_a_command_changes_the_order_and_puts_its_event_into_the_outbox(ours: Till) -> None:
    assert await ours.ask("place", "o-1", traceparent="00-a-b-01") == Accepted("o-1", 1)
    assert await ours.ask("confirm", "o-1") == Accepted("o-1", 2)
    state = await ours.order("o-1")
    assert state is not None
    assert (state.version, state.status, state.total) == (2, "confirmed", 200_000)
    first, second = await ours.fetch("SELECT * FROM write_model.outbox ORDER BY position")
    assert (first["aggregatetype"], first["aggregateid"], first["type"], first["sequence"]) == (
        "order",
        "o-1",
        "order.placed",
        1,
    )
    assert (first["source"], first["specversion"], first["traceparent"]) == ("/shop/orders", "1.0", "00-a-b-01")
    assert first["time"] == first["occurred_at"].isoformat().replace("+00:00", "Z")
    assert payload.read("order.placed", 1, first["payload"].encode())[0] == DATA["place"]
    assert (second["sequence"], second["payload"], second["traceparent"]) == (2, "{}", None)
    assert first["id"].version == second["id"].version == 7


async def test_what_the_state_forbids_leaves_nothing_behind(ours: Till) -> None:
    await ours.tell("o-1", "place")
    answer = await ours.ask("ship", "o-1")
    assert isinstance(answer, Refused)
    assert (answer.version, answer.reason) == (1, "not_confirmed")
    assert await ours.ask("confirm", "nobody's") == Refused("nobody's", 0, "not_found", "there is no such order")
    assert await ours.outbox() == [("o-1", 1, "order.placed")]
    assert await ours.order("nobody's") is None


async def test_a_command_meant_for_another_version_is_told_the_one_that_stands(ours: Till) -> None:
    await ours.tell("o-1", "place")
    assert await ours.ask("confirm", "o-1", expected_version=2) == VersionConflict("o-1", 1)
    assert await ours.ask("place", "o-2", expected_version=1) == VersionConflict("o-2", 0)
    assert await ours.ask("confirm", "o-1", expected_version=1) == Accepted("o-1", 2)


async def test_the_same_key_gets_the_same_answer_and_has_one_effect(ours: Till) -> None:
    await ours.tell("o-1", "place")
    assert await ours.ask("confirm", "o-1", key="k") == Accepted("o-1", 2)
    assert await ours.ask("confirm", "o-1", key="k") == Accepted("o-1", 2, repeated=True)
    refused = await ours.ask("ship", "o-1", key="l")
    assert isinstance(refused, Refused)
    await ours.tell("o-1", "pay")  # now it could be shipped, but what was said stands
    assert await ours.ask("ship", "o-1", key="l") == Refused(**{**vars(refused), "repeated": True})
    assert [version for _, version, _ in await ours.outbox()] == [1, 2, 3]


@pytest.mark.parametrize("change", ["kind", "order", "data", "expected"])
async def test_a_key_is_for_one_command(ours: Till, change: str) -> None:
    await ours.tell("o-1", "place", "confirm")
    await ours.tell("o-2", "place", "confirm")
    assert await ours.ask("pay", "o-1", key="k") == Accepted("o-1", 3)
    kind, order, data, more = "pay", "o-1", DATA["pay"], {}
    match change:
        case "kind":
            kind, data = "cancel", {"reason": "r"}
        case "order":
            order = "o-2"
        case "data":
            data = {**data, "payment_id": "p-2"}
        case "expected":
            more = {"expected_version": 2}
    before = await ours.outbox()
    assert await ours.ask(kind, order, data, key="k", **more) == KeyReused()
    assert await ours.outbox() == before


async def test_keys_of_two_scopes_are_two(ours: Till) -> None:
    await ours.tell("o-1", "place")
    assert await ours.handler.handle(command("confirm", "o-1"), key=Key("a", "k")) == Accepted("o-1", 2)
    answer = await ours.handler.handle(command("confirm", "o-1"), key=Key("b", "k"))
    assert isinstance(answer, Refused)


async def test_while_a_command_is_under_way_its_key_says_so(ours: Till, database_url: str) -> None:
    await ours.tell("o-1", "place")
    async with till(database_url, failpoints="command_before_commit=sleep(3)") as slow:
        first = asyncio.ensure_future(slow.ask("confirm", "o-1", key="k"))
        await eventually(lambda: ours.fetchval(_HELD), interval=0.01)
        assert await ours.ask("confirm", "o-1", key="k") == KeyInProgress()
        assert await first == Accepted("o-1", 2)
    assert await ours.ask("confirm", "o-1", key="k") == Accepted("o-1", 2, repeated=True)


async def test_of_many_at_once_with_one_key_one_has_an_effect(ours: Till) -> None:
    await ours.tell("o-1", "place", "confirm")
    answers = await asyncio.gather(*(ours.ask("pay", "o-1", key="k") for _ in range(30)))
    done = [answer for answer in answers if isinstance(answer, Accepted)]
    assert {answer.version for answer in done} == {3}
    assert [answer.repeated for answer in done].count(False) == 1
    assert all(isinstance(answer, Accepted | KeyInProgress) for answer in answers)
    assert len(await ours.outbox()) == 3


async def test_of_many_at_once_that_place_one_order_one_does(ours: Till) -> None:
    answers = await asyncio.gather(*(ours.ask("place", "o-1", place(f"c-{n}")) for n in range(12)))
    assert answers.count(Accepted("o-1", 1)) == 1
    assert all(answer.reason == "exists" for answer in answers if isinstance(answer, Refused))
    assert await ours.outbox() == [("o-1", 1, "order.placed")]


async def test_commands_on_one_order_take_turns_and_leave_no_hole(ours: Till) -> None:
    await ours.tell("o-1", "place")
    line = {"line": {"sku": "b", "title": None, "quantity": 1, "unit_price": "0.01"}}
    answers = await asyncio.gather(*(ours.ask("add_line", "o-1", line) for _ in range(40)))
    assert sorted(answer.version for answer in answers if isinstance(answer, Accepted)) == [*range(2, 42)]
    assert [version for _, version, _ in await ours.outbox()] == [*range(1, 42)]
    state = await ours.order("o-1")
    assert state is not None
    assert state.unit_count == 42


@pytest.mark.parametrize("key", [None, "k"])
async def test_a_commit_that_nobody_answered_is_not_done_twice(
    ours: Till, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    await ours.tell("o-1", "place", "confirm")
    left = [1]
    plain = asyncpg.transaction.Transaction._Transaction__commit  # type: ignore[attr-defined]  # there is no public one

    async def unheard(self: Any) -> None:
        await plain(self)
        if left:
            left.pop()
            raise ConnectionResetError

    monkeypatch.setattr(asyncpg.transaction.Transaction, "_Transaction__commit", unheard)
    half = {"payment_id": "p", "amount": "5"}
    assert await ours.ask("pay", "o-1", half, key=key) == Accepted("o-1", 3)
    assert [version for _, version, _ in await ours.outbox()] == [1, 2, 3]
    state = await ours.order("o-1")
    assert state is not None
    assert state.paid == 50_000


async def test_all_or_nothing(database_url: str) -> None:
    async with till(database_url, failpoints="command_before_commit=raise") as ours:
        with pytest.raises(RuntimeError):
            await ours.ask("place", "o-1", key="k")
        assert await ours.outbox() == []
        assert await ours.order("o-1") is None
        assert await ours.ask("place", "o-1", key="k") == Accepted("o-1", 1)


async def test_more_data_than_a_consumer_reads_is_refused(ours: Till) -> None:
    huge = {**place(), "shipping_address": {"city": "x" * (1024 * 1024)}}
    answer = await ours.ask("place", "o-1", huge)
    assert isinstance(answer, Refused)
    assert answer.reason == "too_large"
    assert await ours.outbox() == []


async def test_a_state_of_any_size_comes_back_as_it_was(ours: Till) -> None:
    await ours.ask("place", "o-1", place(price="99999999999999.9999", quantity=10**30))
    state = await ours.order("o-1")
    assert state is not None
    assert state.total == (10**18 - 1) * 10**30
    assert order_json.load(order_json.dump(state)) == state
    assert await ours.ask("add_line", "o-1", {"line": place()["lines"][0]}) == Accepted("o-1", 2)


async def test_in_somebody_elses_transaction_a_lost_race_is_said(ours: Till) -> None:
    async with ours.pool.acquire() as one, ours.pool.acquire() as other:
        first, second = one.transaction(), other.transaction()
        await first.start()
        await second.start()
        assert await ours.handler.execute(one, command("place", "o-1")) == Accepted("o-1", 1)
        waiting = asyncio.ensure_future(ours.handler.execute(other, command("place", "o-1")))
        await eventually(lambda: ours.fetchval(_WAITS), interval=0.01)
        await first.commit()
        with pytest.raises(LostRace):
            await waiting
        await second.rollback()
