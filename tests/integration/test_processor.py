"""The processor on a real PostgreSQL: what a batch leaves behind, and what it never does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from consumer.install import install
from consumer.processor import Processor
from consumer.projection import Projection
from consumer.read_models import READ_MODELS, Contribution
from consumer.read_models.kinds import Type, columns
from consumer.reference import Broken, Event, Tombstone
from schemas.order import OrderState
from tests.support.engine import COPIED, Engine, attributes, copied_from, engine, placed


@pytest.fixture(params=[1, COPIED], ids=["copied", "in one statement"], autouse=True)
def both_ways(request: pytest.FixtureRequest) -> Iterator[None]:
    """Batches as large ones are written, and as small ones."""
    with copied_from(request.param):
        yield


@pytest_asyncio.fixture
async def fed(database_url: str) -> AsyncIterator[Engine]:
    async with engine(database_url) as made:
        yield made


def confirmed(order: str, version: int, **more: Any) -> dict[str, Any]:
    return attributes(order, version, "order.confirmed", None, **more)


def paid(order: str, version: int, amount: str = "25.00", **more: Any) -> dict[str, Any]:
    return attributes(order, version, "order.payment_captured", {"payment_id": "p", "amount": amount}, **more)


async def test_a_whole_life_in_one_batch_and_event_by_event_leave_the_same(fed: Engine) -> None:
    life = [placed("a"), confirmed("a", 2), paid("a", 3), placed("b", customer="c-2"), confirmed("b", 2)]
    fed.send(*life)
    await fed.run()
    assert await fed.differences([Event(event) for event in life]) == []
    more = [attributes("a", 4, "order.cancelled", {"reason": "x"}), paid("b", 3)]
    fed.send(*more)
    await fed.run(most=1)
    assert await fed.differences([Event(event) for event in life + more]) == []


async def test_a_hole_is_parked_durably_and_drained_with_what_fills_it(fed: Engine) -> None:
    fed.send(placed("a"), paid("a", 4), confirmed("a", 3))
    await fed.run()
    fed.start()  # a new process: what waits is in the database or nowhere
    waiting = await fed.fetch("SELECT order_id, version, event_id FROM projector.parked_events ORDER BY version")
    assert [(row["version"], row["event_id"]) for row in waiting] == [(3, "a-3"), (4, "a-4")]
    fed.send(attributes("a", 2, "order.gift_wrapped", {"paper": "stars"}), partition=1)
    outcome = await fed.run()
    assert outcome.counts["applied"] == 3
    assert await fed.value("SELECT count(*) FROM projector.parked_events") == 0
    assert await fed.value("SELECT version FROM read_model.order_summary") == 4


async def test_of_two_that_wait_for_one_version_the_first_that_came_is_applied(fed: Engine) -> None:
    first, second = confirmed("a", 2, id_="z"), confirmed("a", 2, id_="b")  # ids sort the other way round
    for event in (first, second, placed("a")):
        fed.send(event)
        await fed.run()
    assert await fed.value("SELECT event_id FROM projector.processed_events WHERE version = 2") == "z"
    assert await fed.differences([Event(first), Event(second), Event(placed("a"))]) == []


async def test_what_another_producer_sent_drains_in_a_process_that_never_met_it(fed: Engine) -> None:
    late = confirmed("a", 2, source="/till")
    fed.send(late)
    await fed.run()
    fed.start()
    fed.send(placed("a"))
    await fed.run()
    assert await fed.differences([Event(late), Event(placed("a"))]) == []


@pytest.mark.parametrize("where", ["applied", "parked", "in dead letters"])
async def test_a_second_delivery_is_a_duplicate_wherever_the_first_one_is(fed: Engine, where: str) -> None:
    first = {"applied": placed("a"), "parked": confirmed("a", 3), "in dead letters": confirmed("a", 1)}[where]
    fed.send(first)
    await fed.run()
    fed.start()
    fed.send(first, partition=7)
    outcome = await fed.run()
    assert +outcome.counts == {"duplicate": 1}
    assert await fed.differences([Event(first), Event(first)]) == []


async def test_the_same_id_of_two_sources_is_two_events(fed: Engine) -> None:
    twin = "0190f3f0-1234-7abc-8def-0123456789ab"
    sent = [placed("a", id_=twin, source="/shop"), placed("b", id_=twin, source="/till")]
    fed.send(*sent)
    await fed.run()
    assert await fed.differences([Event(event) for event in sent]) == []
    assert await fed.value("SELECT count(*) FROM projector.processed_events WHERE event_id = $1", twin) == 2


@pytest.mark.parametrize("beside", [0, 600], ids=["by insert", "by copy"])
async def test_an_id_used_again_for_another_order_in_turn_has_no_effect(fed: Engine, beside: int) -> None:
    others = [placed(f"other-{n}") for n in range(beside)]
    sent = [placed("a", id_="x"), placed("b", id_="x"), *others, placed("c", id_="y")]
    for batch in (sent[:1], sent[1:-1], sent[-1:]):  # the ledger's insert has to find it
        fed.send(*batch)
        await fed.run()
    assert await fed.differences([Event(event) for event in sent]) == []
    assert [type(error).__name__ for error in fed.retries] == ["LostRace"]


async def test_unreadable_records_keep_their_bytes_and_the_rest_of_the_batch_is_applied(fed: Engine) -> None:
    fed.send(placed("a"))
    odd = b'{"specversion":"1.0", "subject": "o-\xff'
    fed.append(odd, key=b"k", trace="\u00e9")
    fed.send(placed("b"))
    outcome = await fed.run()
    assert outcome.counts["applied"] == 2
    [letter] = await fed.fetch('SELECT *, "offset" AS at FROM projector.dead_letters')
    assert (letter["reason"], letter["value"], letter["key"], letter["at"]) == ("unreadable", odd, b"k", 1)
    assert json.loads(letter["headers"]) == {"trace": "\u00e9"}
    assert letter["order_id"] == "k"


async def test_the_same_unreadable_bytes_at_two_offsets_are_two_letters(fed: Engine) -> None:
    fed.append(b"{")
    fed.append(b"{")
    await fed.run()
    assert await fed.differences([Broken(), Broken()]) == []


_REFUSAL = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'too fine a value: %', NEW.data USING ERRCODE = '22003'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON projector.ledger
    FOR EACH ROW WHEN (NEW.order_id = 'poison') EXECUTE FUNCTION refuse();
"""


async def test_what_postgresql_refuses_is_isolated_and_the_rest_applied(fed: Engine) -> None:
    async with fed.pool.acquire() as connection:
        await connection.execute(_REFUSAL)  # decoding lets nothing through that PostgreSQL is known to refuse
    sent = [placed(f"o-{number}") for number in range(50)]
    fed.send(*sent[:30], placed("poison"), *sent[30:])
    outcome = await fed.run()
    assert (outcome.counts["applied"], outcome.counts["unreadable"]) == (50, 1)
    [letter] = await fed.fetch("SELECT error, order_id FROM projector.dead_letters")
    assert "22003" in letter["error"]
    assert "too fine" not in letter["error"]  # PostgreSQL's message holds the value
    assert letter["order_id"] == "poison"
    assert await fed.differences([*map(Event, sent), Broken()]) == []


async def test_erasure_leaves_nothing_but_the_mark(fed: Engine) -> None:
    secret = "Name of c-9"
    sent: list[Any] = [Event(placed("a", customer="c-9")), Event(confirmed("a", 3)), Event(confirmed("b", 1))]
    fed.send(sent[0].attributes, sent[1].attributes, sent[2].attributes)
    fed.append(b'{"torn": "c-9', key=b"a")
    await fed.run()
    fed.append(None, key=b"a")
    fed.send(paid("a", 2))
    outcome = await fed.run()
    assert outcome.counts["erased"] == 1
    assert await fed.differences([*sent, Broken("a"), Tombstone("a"), Event(paid("a", 2))]) == []
    for table in ("orders", "ledger", "parked_events", "dead_letters", "customer_summary", "product_sales_daily"):
        for row in await fed.fetch(f"SELECT t::text AS row FROM projector.{table} AS t"):
            assert secret not in row["row"]
    assert await fed.value("SELECT erased FROM projector.orders WHERE order_id = 'a'") is True


async def test_an_id_of_an_erased_order_is_free_again_in_the_same_batch_too(fed: Engine) -> None:
    fed.send(placed("a"), confirmed("a", 2, id_="twice"))
    await fed.run()
    fed.append(None, key=b"a")
    fed.send(placed("b"), confirmed("b", 2, id_="twice"), paid("b", 3))
    outcome = await fed.run()
    assert (outcome.counts["tombstone"], outcome.counts["applied"]) == (1, 3)
    rows = await fed.fetch("SELECT order_id, version FROM read_model.order_summary")
    assert [tuple(row.values()) for row in rows] == [("b", 3)]


async def test_a_quantity_beyond_64_bits_is_exact_everywhere(fed: Engine) -> None:
    event = placed("a")
    event["data"]["lines"][0]["quantity"] = 10**40 + 1
    fed.send(event, placed("b"))
    await fed.run()
    fed.send(attributes("a", 2, "order.line_added", {"line": {**event["data"]["lines"][0], "unit_price": "0.0001"}}))
    await fed.run()
    added = attributes("a", 2, "order.line_added", {"line": {**event["data"]["lines"][0], "unit_price": "0.0001"}})
    assert await fed.differences([Event(event), Event(placed("b")), Event(added)]) == []


async def test_a_batch_takes_so_many_statements_whatever_its_size(fed: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    fed.send(placed("first"))  # after which the source has its number
    await fed.run()
    seen: list[str] = []
    for name in ("execute", "fetch", "fetchval", "copy_to_table"):  # of many events the ledger's are copied
        plain = getattr(asyncpg.Connection, name)

        async def counted(self: Any, query: str, *arguments: Any, _plain: Any = plain, **more: Any) -> Any:
            seen.append(query)
            return await _plain(self, query, *arguments, **more)

        monkeypatch.setattr(asyncpg.Connection, name, counted)
    counts = []
    for number in (1, 10, 100, 200, 1000):  # from 167 on they are 500 events and more
        orders = [f"{number}-{place}" for place in range(number)]
        fed.send(*(event for order in orders for event in (placed(order), confirmed(order, 2), paid(order, 3))))
        await fed.take()
        seen.clear()
        with copied_from(COPIED):
            await fed.apply(fed.next_batch())
        counts.append(len(seen))
    # Begin, the checkpoints' move, the look, the write, commit, and this pool's reset.
    assert counts[:3] == [6] * 3
    # The write is three: orders (new ones, here), ledger, read models.
    assert counts[3:] == [8] * 2


class _Fussy(Contribution):
    """A read model whose code fails on one carrier."""

    name = "fussy"
    version = 1
    keys = columns(carrier=Type.TEXT)
    values = columns(orders=Type.COUNT)
    depends_on = ("carrier",)
    broken = True

    def contributions(self, order: OrderState) -> Any:
        if order.carrier == "Bad & Co" and self.broken:
            raise KeyError(order.customer_name)
        yield (order.carrier or "",), (1,)


async def test_an_event_on_which_a_read_model_fails_holds_its_own_order_and_no_other(fed: Engine) -> None:
    async with fed.pool.acquire() as connection:
        await install(connection, (*READ_MODELS, _Fussy()))
    fed.processor = Processor(fed.pool, Projection((*READ_MODELS, _Fussy())))
    shipped = attributes("a", 2, "order.shipped", {"carrier": "Bad & Co", "tracking_number": "1"})
    fed.send(placed("a"), shipped, confirmed("a", 3), placed("b"), confirmed("b", 2))
    outcome = await fed.run()
    assert (outcome.counts["applied"], outcome.counts["projection_error"], outcome.counts["parked"]) == (3, 1, 1)
    [letter] = await fed.fetch("SELECT reason, error, event_id FROM projector.dead_letters")
    assert (letter["reason"], letter["event_id"]) == ("projection_error", "a-2")
    assert "fussy" in letter["error"]
    assert "KeyError" in letter["error"]
    assert "Name of" not in letter["error"]
    rows = await fed.fetch("SELECT order_id, version FROM read_model.order_summary ORDER BY 1")
    assert [tuple(row.values()) for row in rows] == [("a", 1), ("b", 2)]


async def test_a_new_read_model_is_filled_from_the_orders_that_are_there(fed: Engine) -> None:

    fed.send(placed("a"), placed("b"))
    await fed.run()
    async with fed.pool.acquire() as connection:
        assert (await install(connection, (*READ_MODELS, _Fussy()))).read_models == ["fussy"]
        assert [tuple(row) for row in await connection.fetch("SELECT * FROM read_model.fussy")] == [("", 2)]


async def test_what_was_parked_is_applied_as_it_came(fed: Engine) -> None:
    fed.append(
        b'{"payment_id": "p", "amount": 25.00}',
        key=b'"a"',
        id="pay-1",
        eventType="order.payment_captured",
        sequence="2",
        time="2026-03-01T12:02:00Z",
    )
    fed.send(placed("a"))
    await fed.take()
    await fed.apply(fed.next_batch(1))
    await fed.run()
    [told] = await fed.fetch("SELECT * FROM read_model.order_timeline WHERE version = 2")
    assert (told["order_id"], told["event_id"], told["event_source"]) == ("a", "pay-1", "orders.events")
    assert told["data"] == '{"amount": 25.00, "payment_id": "p"}'
