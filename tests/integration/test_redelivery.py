"""Dead letters tried again: what follows from it, what it leaves on the letter, and what it never does."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from consumer import pending
from consumer.processor import Processor
from consumer.projection import Projection
from consumer.reference import Event
from schemas.events import Decoded, Record, Unreadable
from schemas.events import Event as EventRead
from schemas.wire import decode
from tests.support.engine import TOPIC, Engine, attributes, engine, placed
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

CARRIERS = "SELECT carrier, orders FROM read_model.fussy WHERE orders > 0 ORDER BY carrier"


@pytest_asyncio.fixture
async def fed(database_url: str) -> AsyncIterator[Engine]:
    async with engine(database_url) as made:
        yield made


@pytest_asyncio.fixture
async def fussy(database_url: str) -> AsyncIterator[Engine]:
    async with fussy_engine(database_url) as made:
        yield made


async def everything(fed: Engine) -> dict[str, list[str]]:
    """All rows of all tables of ours, as text."""
    tables = await fed.fetch("SELECT relname FROM pg_stat_user_tables WHERE schemaname = 'projector'")
    return {
        table["relname"]: [row["t"] for row in await fed.fetch(f"SELECT t::text FROM projector.{table['relname']} t")]
        for table in tables
    }


# What is mended is applied


async def test_a_mended_read_model_takes_its_letter_and_all_that_waits_behind_it(fussy: Engine) -> None:
    sent = [placed("a"), shipped("a", 2), attributes("a", 3, "order.delivered"), confirmed("a", 5), placed("b")]
    fussy.send(*sent)
    await fussy.run()
    [done] = await retry(fussy, models=MENDED)
    assert (done.order_id, done.applied, done.clean) == ("a", 2, True)
    assert (done.behind.parked, done.behind.waits_for) == (1, 4)
    assert await fussy.differences([Event(event) for event in sent]) == []
    assert [tuple(row.values()) for row in await fussy.fetch(CARRIERS)] == [("", 1), ("Bad & Co", 1)]
    [letter] = await letters(fussy)
    assert (letter["resolution"], letter["resolved_by"], letter["resolution_note"]) == ("retried", "tester", "applied")
    assert letter["resolved_at"] is not None
    assert (letter["attempts"], letter["last_error"]) == (1, None)


async def test_what_an_older_version_could_not_read_is_applied(fed: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = {"customer_id": "c-1", "customer_name": "Ada", "currency": "EUR"}
    old = attributes("a", 1, "order.placed", {**flat, "items": [{"sku": "s", "quantity": 1, "unit_price": "1"}]})
    fed.send({**old, "schemaversion": 0}, confirmed("a", 2))
    with monkeypatch.context() as before:
        before.setattr("schemas.upcasts._UPCASTS", {})  # as it was before that upcaster
        outcome = await fed.run()
    assert +outcome.counts == {"unreadable": 1, "parked": 1}
    [done] = await retry(fed, reason="unreadable")
    assert (done.applied, done.behind.parked) == (2, 0)
    assert await fed.fetch("SELECT version, customer_id FROM read_model.order_summary") == [
        {"version": 2, "customer_id": "c-1"}
    ]


async def test_letters_of_one_order_are_applied_in_version_order_in_one_transaction(fed: Engine) -> None:
    events = [placed("a"), confirmed("a", 2), shipped("a", 3), attributes("a", 4, "order.delivered"), confirmed("a", 5)]
    fed.send(*reversed(events))
    await run_as_older(fed, of_version(1, 2, 4))
    [done] = await retry(fed)
    assert [row["version"] for row in await fed.fetch('SELECT version FROM projector.dead_letters ORDER BY "offset"')]
    assert (done.applied, list(becomes([done]).values())) == (5, ["applied"] * 3)
    assert await fed.differences([Event(event) for event in events]) == []
    assert len(await fed.fetch("SELECT DISTINCT xmin::text FROM projector.ledger")) == 1


async def test_each_order_has_a_transaction_of_its_own(fussy: Engine) -> None:
    sent = [event for order in "abc" for event in (placed(order), shipped(order, 2), confirmed(order, 3))]
    fussy.send(*sent)
    await fussy.run()
    done = await retry(fussy, models=MENDED)
    assert [(one.order_id, one.applied) for one in done] == [("a", 2), ("b", 2), ("c", 2)]
    assert await fussy.differences([Event(event) for event in sent]) == []
    assert len(await fussy.fetch("SELECT DISTINCT xmin::text FROM projector.ledger WHERE version > 1")) == 3


async def test_a_dry_run_tells_the_same_and_changes_nothing(fussy: Engine) -> None:
    fussy.send(placed("a"), shipped("a", 2, source="/till"), confirmed("a", 3), confirmed("a", 1, id_="rival"))
    await run_as_older(fussy, lambda item: getattr(item, "source", "") == "/till")  # a source without a number yet
    before = await everything(fussy)
    told = await retry(fussy, execute=False, models=MENDED)
    assert await everything(fussy) == before
    assert sorted(becomes(told).values()) == ["applied", "refused"]
    assert told == await retry(fussy, models=MENDED)
    assert await everything(fussy) != before


# What becomes of the letter


async def test_a_letter_refused_again_stays_open_and_says_why(fussy: Engine) -> None:
    fussy.send(placed("a"), shipped("a", 2), confirmed("a", 3))
    await fussy.run()
    for attempt in (2, 3):
        [done] = await retry(fussy, models=BROKEN)
        [fate] = done.letters
        assert (fate.becomes, fate.reason, done.applied, done.behind.parked) == ("refused", "projection_error", 0, 1)
        assert not done.clean
        [letter] = await letters(fussy)
        assert (letter["attempts"], letter["resolved_at"], letter["resolution"]) == (attempt, None, None)
        assert letter["last_error"] == fate.error
        assert letter["last_attempt_at"] > letter["created_at"]


async def test_a_version_that_was_taken_meanwhile_is_said_to_be_taken(fed: Engine) -> None:
    sent = [placed("a"), placed("a", 2, id_="again"), confirmed("a", 2, id_="instead")]
    fed.send(*sent)
    await fed.run()
    [letter] = await letters(fed)
    assert letter["reason"] == "invalid_history"
    [done] = await retry(fed, order_id="a")
    assert becomes([done]) == {letter["id"]: "refused"}
    [again] = await letters(fed)
    assert (again["reason"], again["error"]) == ("version_conflict", letter["error"])
    assert "taken" in again["last_error"]
    assert await fed.differences([Event(sent[0]), Event(sent[2]), Event(sent[1])]) == []


async def test_an_event_whose_corrected_copy_came_meanwhile_is_a_duplicate(fed: Engine) -> None:
    event = placed("a")
    fed.send(event)
    await run_as_older(fed, of_version(1))
    fed.send(event, partition=1)
    await fed.run()
    [done] = await retry(fed)
    assert list(becomes([done]).values()) == ["duplicate"]
    assert await fed.differences([Event(event), Event(event)]) == []
    [letter] = await letters(fed)
    assert (letter["resolution"], letter["resolution_note"]) == ("retried", "duplicate")


async def test_an_event_whose_turn_has_not_come_is_parked(fed: Engine) -> None:
    late, first = confirmed("a", 2), placed("a")
    fed.send(late)
    await run_as_older(fed, of_version(2))
    [done] = await retry(fed)
    assert (list(becomes([done]).values()), done.clean) == (["parked"], True)
    assert (done.behind.parked, done.behind.waits_for) == (1, 1)
    fed.send(first)
    await fed.run()
    assert await fed.differences([Event(late), Event(first)]) == []


@pytest.mark.parametrize("refusal", ["invalid_history", "version_conflict"])
async def test_what_was_retried_and_parked_and_is_refused_in_its_turn_is_a_letter_again(
    fed: Engine, refusal: str
) -> None:
    """Its letter was resolved when it was parked; it must not be lost now."""
    late = placed("a", 3, id_="late") if refusal == "invalid_history" else confirmed("a", 3, id_="late")
    rivals = [] if refusal == "invalid_history" else [confirmed("a", 3, id_="first")]
    fed.send(*rivals)
    await fed.run()
    fed.send(late)
    await run_as_older(fed, lambda _: True)
    assert list(becomes(await retry(fed)).values()) == ["parked"]
    rest = [placed("a"), confirmed("a", 2)]
    fed.send(*rest)
    await fed.run()
    [letter] = await letters(fed)
    assert (letter["reason"], letter["event_id"], letter["attempts"]) == (refusal, "late", 2)
    assert (letter["resolved_at"], letter["resolution"], letter["resolved_by"]) == (None, None, None)
    assert await fed.differences([*map(Event, rivals), Event(late), *map(Event, rest)]) == []
    fed.send(late, partition=5)
    assert +(await fed.run()).counts == {"duplicate": 1}


async def test_an_event_of_a_retried_letter_is_a_duplicate_when_it_comes_again(fussy: Engine) -> None:
    fussy.send(placed("a"), shipped("a", 2), shipped("b", 2))
    await fussy.run()
    await retry(fussy, models=MENDED)
    before = await everything(fussy)
    fussy.processor = Processor(fussy.pool, Projection(MENDED))
    fussy.send(shipped("a", 2), shipped("b", 2), partition=4)
    assert +(await fussy.run()).counts == {"duplicate": 2}
    after = await everything(fussy)
    assert {name for name in before if before[name] != after[name]} == {"checkpoints"}


async def test_an_event_that_waits_may_fail_in_its_turn_and_is_a_letter_of_its_own(fussy: Engine) -> None:
    sent = [placed("a"), attributes("a", 2, "order.delivered"), shipped("a", 3), confirmed("a", 4)]
    fussy.send(*sent)
    await run_as_older(fussy, of_version(2))
    [done] = await retry(fussy, models=BROKEN)
    assert (done.applied, list(becomes([done]).values()), done.clean) == (1, ["applied"], False)
    assert [(new.event_id, new.version, new.reason) for new in done.refused] == [("a-3", 3, "projection_error")]
    assert (done.behind.parked, done.behind.waits_for) == (1, 3)
    [again] = await retry(fussy, models=MENDED)
    assert (again.applied, again.clean) == (2, True)
    assert await fussy.differences([Event(event) for event in sent]) == []


# What was parked, and can't be read any more when its turn comes


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A release that can't read versions 3 of what is parked, until it is undone."""

    def read(record: Record) -> Decoded:
        item = decode(record)
        unreadable = isinstance(item, EventRead) and item.version == 3
        return Unreadable("no upcaster", None, None, record) if unreadable else item

    monkeypatch.setattr(pending, "decode", read)
    return monkeypatch


SENT = [placed("a"), confirmed("a", 2), shipped("a", 3), attributes("a", 4, "order.delivered")]


async def _fill_the_hole(fed: Engine) -> None:
    """Versions 3 and 4 are parked; then comes 2."""
    fed.send(SENT[0], *SENT[2:])
    await fed.run()
    fed.send(SENT[1])
    await fed.run()


async def test_it_is_a_letter_with_its_record_and_applied_with_all_behind_it_when_it_is_mended(
    fed: Engine, older: pytest.MonkeyPatch
) -> None:
    await _fill_the_hole(fed)
    [letter] = await letters(fed)
    assert (letter["reason"], letter["error"], letter["order_id"], letter["event_id"]) == (
        *("unreadable", "no upcaster"),
        *("a", SENT[2]["id"]),
    )
    assert (letter["topic"], letter["partition"], letter["offset"]) == (TOPIC, 0, 1)
    assert letter["value"] == fed.logs[0][1].value
    assert await fed.value("SELECT array_agg(version) FROM projector.parked_events") == [4]
    older.undo()
    [done] = await retry(fed)
    assert (done.applied, done.clean) == (2, True)
    assert await fed.differences([Event(event) for event in SENT]) == []


async def test_of_an_order_that_is_erased_in_the_same_batch_no_letter_stays(
    fed: Engine, older: pytest.MonkeyPatch
) -> None:
    fed.send(SENT[0], *SENT[2:])
    await fed.run()
    fed.send(SENT[1])
    fed.append(None, key=b"a")
    await fed.run()
    assert await letters(fed) == []
    assert await fed.value("SELECT count(*) FROM projector.parked_events") == 0
