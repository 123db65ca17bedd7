"""One order folded anew from the journal: what was wrong is right, and so is all that others write meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from random import Random
from typing import Any

import pytest
import pytest_asyncio

from consumer.rebuild import one_order as module
from consumer.rebuild.one_order import Mended, rebuild_order
from schemas.errors import Refused
from tests.support.engine import TOPIC, attributes, placed
from tests.support.rebuilding import Beside, Shop, Steps, rebuild, shop
from tests.support.rebuilds import settings_of
from tests.support.redelivery import confirmed
from tests.support.streams import demo_stream


@pytest_asyncio.fixture
async def ours(database_url: str) -> AsyncIterator[Shop]:
    async with shop(database_url) as made:
        await made.tell(placed("a"), confirmed("a", 2), paid("a", 3), placed("b"), placed("c", customer="c-2"))
        yield made


def paid(order: str, version: int) -> dict[str, Any]:
    return attributes(order, version, "order.payment_captured", {"payment_id": "p", "amount": "25.00"})


async def mended(url: str, order: str = "a") -> Mended:
    return await rebuild_order(settings_of(url), order)


async def execute(ours: Shop, *statements: str) -> None:
    async with ours.fed.pool.acquire() as connection:
        for statement in statements:
            await connection.execute(statement)


_STATE = "UPDATE projector.orders SET {} WHERE order_id = 'a'"


async def test_of_an_order_that_is_right_nothing_is_touched(ours: Shop, database_url: str) -> None:
    rows = "SELECT ctid::text, revision FROM projector.orders WHERE order_id = 'a'"
    before = await ours.fed.fetch(rows)
    found = await mended(database_url)
    assert (found.version, found.changed) == (3, False)
    assert (found.columns, found.documents, {*found.sums.values()}) == ((), (), {0})
    assert await ours.fed.fetch(rows) == before


@pytest.mark.parametrize(
    ("damage", "columns", "documents", "sums"),
    [
        (_STATE.format("status = 'odd', carrier = 'x'"), {"status", "carrier"}, (), 0),
        (_STATE.format("total = total + 1, paid = 0"), {"total", "paid"}, (), 0),
        (_STATE.format("version = 1, last_event_id = NULL"), {"version", "last_event_id"}, (), 0),
        (_STATE.format("lines = '[]', unit_count = 0, total = 0"), {"lines", "unit_count", "total"}, (), 0),
        (_STATE.format("customer_id = 'c-9', currency = 'USD'"), {"customer_id", "currency"}, (), 0),
        (_STATE.format("placed_at = NULL"), {"placed_at"}, (), 0),
        (_STATE.format("placed_at = placed_at + interval '1 day'"), {"placed_at"}, (), 0),
        ("DELETE FROM projector.orders WHERE order_id = 'a'", {"version", "customer_id"}, (), 0),
        ("UPDATE projector.fulfilment_queue SET total = 0", set(), ("fulfilment_queue",), 0),
        ("DELETE FROM projector.fulfilment_queue", set(), ("fulfilment_queue",), 0),
        ("UPDATE projector.customer_summary SET revenue = revenue + 1", set(), (), 1),
        ("DELETE FROM projector.product_sales_daily", set(), (), 1),
        (
            "UPDATE projector.customer_summary SET orders = orders - 1 WHERE customer_id = 'c-1'; "
            "DELETE FROM projector.fulfilment_queue; " + _STATE.format("status = NULL"),
            {"status"},
            ("fulfilment_queue",),
            1,
        ),
    ],
)
async def test_what_was_damaged_is_put_right_and_named(
    ours: Shop, database_url: str, damage: str, columns: set[str], documents: tuple[str, ...], sums: int
) -> None:
    if "customer_summary SET revenue" in damage:
        damage += " WHERE customer_id = 'c-1'"
    await execute(ours, damage)
    assert await ours.differences() != []
    found = await mended(database_url)
    assert {*found.columns} >= columns
    assert (found.documents, sum(found.sums.values())) == (documents, sums)
    assert await ours.differences() == []
    await ours.tell(attributes("a", 4, "order.cancelled", {"reason": "no"}), confirmed("b", 2))
    assert await ours.differences() == []


async def test_a_batch_that_has_looked_before_a_document_was_mended_looks_again(ours: Shop, database_url: str) -> None:
    """Or an erasure that is under way would not see the row that it has to remove: it compares the revision."""
    revision = "SELECT revision FROM projector.orders WHERE order_id = 'a'"
    before = await ours.fed.value(revision)
    await execute(ours, "DELETE FROM projector.fulfilment_queue")
    assert (await mended(database_url)).documents == ("fulfilment_queue",)
    assert await ours.fed.value(revision) == before + 1


async def test_sums_that_have_given_a_wrong_share_are_put_right_whichever_share_that_was(
    ours: Shop, database_url: str
) -> None:
    """State and sums wrong in the same way, and in different ways: neither says what the sums hold of the order."""
    for off in ("+ 10", "- 3"):
        await execute(ours, _STATE.format("total = total + 10"))
        await execute(ours, f"UPDATE projector.customer_summary SET revenue = revenue {off} WHERE customer_id = 'c-1'")
        await mended(database_url)
        assert await ours.differences() == []


async def test_damage_to_an_order_moves_no_share_to_a_customer_that_it_never_had(ours: Shop, database_url: str) -> None:
    await execute(
        ours,
        _STATE.format("customer_id = 'c-2'"),
        "UPDATE projector.customer_summary SET orders = orders + 1 WHERE customer_id = 'c-2'",
        "UPDATE projector.customer_summary SET orders = orders - 1 WHERE customer_id = 'c-1'",
    )
    assert (await mended(database_url)).sums["customer_summary"] == 2
    assert await ours.differences() == []


async def test_a_state_that_no_read_model_can_take_is_put_right(ours: Shop, database_url: str) -> None:
    await execute(ours, _STATE.format("""lines = '[{"sku": "x"}]'"""))
    await mended(database_url)
    assert await ours.differences() == []


async def test_an_erased_order_stays_erased(ours: Shop, database_url: str) -> None:
    await ours.erase("a")
    await execute(ours, "INSERT INTO projector.fulfilment_queue (order_id, unit_count, total) VALUES ('a', 1, 1)")
    assert (await mended(database_url)).documents == ("fulfilment_queue",)
    assert await ours.differences() == []


async def test_an_order_that_waits_for_its_first_event_and_one_that_is_not_placed(
    ours: Shop, database_url: str
) -> None:
    await ours.tell(confirmed("stub", 2), attributes("odd", 1, "order.odd", {}))
    with pytest.raises(Refused, match="there is no order stub"):
        await mended(database_url, "stub")
    assert (await mended(database_url, "odd")).version == 1
    await ours.tell(placed("stub"), placed("odd", 2))
    assert await ours.differences() == []


async def test_no_such_order_is_refused(ours: Shop, database_url: str) -> None:
    with pytest.raises(Refused, match="there is no order nobody's"):
        await mended(database_url, "nobody's")


@pytest.mark.parametrize(
    ("lost", "why"),
    [
        ("version = 2", "the journal's event 3 of order a follows on 1"),
        ("version = 3", "the journal has 2 events of order a, which stands at version 3"),
        ("version > 0", "the journal has 0 events of order a"),
    ],
)
async def test_a_journal_with_a_hole_changes_nothing(ours: Shop, database_url: str, lost: str, why: str) -> None:
    await execute(
        ours, f"DELETE FROM projector.ledger WHERE order_id = 'a' AND {lost}", _STATE.format("status = 'odd'")
    )
    before = await ours.fed.fetch("SELECT ctid::text, * FROM projector.orders")
    with pytest.raises(Refused, match=why):
        await mended(database_url)
    assert await ours.fed.fetch("SELECT ctid::text, * FROM projector.orders") == before


# While others write


@pytest.mark.parametrize("seed", range(2))
async def test_while_its_customers_other_orders_are_written_nothing_is_lost(
    ours: Shop, database_url: str, seed: int
) -> None:
    """In many rounds: an order damaged, mended, and meanwhile a stream of its own customer's orders and of itself."""
    random = Random(seed)
    damages = ("status = 'odd'", "total = total + 7, refunded = 2", "customer_id = 'c-2'", "placed_at = NULL")

    async def others() -> int:
        for number in count():
            if mending.done():
                return number
            await ours.tell(placed(f"n-{number}"), confirmed(f"n-{number}", 2), partition=number % 3)
            await ours.write(placed(f"l-{number}", customer=random.choice(("c-1", "c-2"))))
        raise AssertionError

    async def mend() -> None:
        for _ in range(10):
            order = random.choice(("a", "b", "c"))
            await execute(ours, f"UPDATE projector.orders SET {random.choice(damages)} WHERE order_id = '{order}'")
            await execute(ours, "UPDATE projector.customer_summary SET orders = orders + 1 WHERE shard = 1")
            await asyncio.gather(*(mended(database_url, one) for one in ("a", "b", "c")))

    mending = asyncio.ensure_future(mend())
    assert await others() >= 5
    await mending
    await asyncio.gather(*(mended(database_url, one) for one in ("a", "b", "c")))
    assert await ours.differences() == []


async def test_an_order_that_is_written_all_the_while_is_mended_all_the_same(ours: Shop, database_url: str) -> None:
    async def itself() -> None:
        for version in range(4, 40):
            await ours.tell(
                attributes("a", version, "order.address_changed", {"shipping_address": {"n": str(version)}})
            )

    writing = asyncio.ensure_future(itself())
    while not writing.done():
        await mended(database_url)
    await writing
    assert await ours.differences() == []


@pytest.mark.parametrize("when", [["before"], ["after"], ["before", "after"]])
@pytest.mark.parametrize("how", ["by a worker", "beside the partitions"])
async def test_a_writer_that_comes_between_its_reading_and_its_writing_counts_once(
    ours: Shop, database_url: str, monkeypatch: pytest.MonkeyPatch, when: list[str], how: str
) -> None:
    """Others add to the same sums, in other shards or in this one, before or after all orders are read."""

    async def between(moment: str) -> None:
        events = [placed(f"new-{moment}"), attributes(f"new-{moment}", 2, "order.cancelled", {"reason": "no"})]
        await (ours.tell(*events) if how == "by a worker" else ours.write(*events))
        await ours.tell(placed(f"newer-{moment}"))

    await execute(ours, "UPDATE projector.customer_summary SET revenue = revenue + 5 WHERE customer_id = 'c-1'")
    read, moments = module._states, [*when]

    async def states(*arguments: Any) -> Any:
        if "before" in moments:
            moments.remove("before")
            await asyncio.ensure_future(between("before"))
        async for state in read(*arguments):
            yield state
        if "after" in moments:
            moments.remove("after")
            await asyncio.ensure_future(between("after"))

    monkeypatch.setattr(module, "_states", states)
    await mended(database_url)
    assert moments == []
    assert await ours.differences() == []


async def test_beside_a_rebuild_both_are_right(ours: Shop, database_url: str) -> None:
    await ours.give(demo_stream(30, 61, topic=TOPIC).deliveries)
    beside = Beside(ours, 62, orders=40)

    async def damage_and_mend() -> None:
        await beside.more(20)
        await execute(ours, _STATE.format("status = 'odd', total = 0"))
        await mended(database_url)

    points = ("rebuild_capture", "rebuild_indexed", "rebuild_catch_up", "rebuild_compare")
    done = await rebuild(database_url, at=Steps(dict.fromkeys(points, damage_and_mend)))
    assert (done.state, done.comparison.counts) == ("swapped", {})
    assert await ours.differences() == []


async def test_a_database_of_another_make_is_refused(ours: Shop, database_url: str) -> None:
    await execute(ours, "UPDATE projector.read_models SET fingerprint = 'other' WHERE name = 'fulfilment_queue'")
    with pytest.raises(Refused, match="fulfilment_queue stand in another make"):
        await mended(database_url)


async def test_states_of_others_are_read_a_few_at_a_time(
    ours: Shop, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 3)
    await ours.give(demo_stream(40, 63, topic=TOPIC).deliveries)
    await execute(ours, "UPDATE projector.customer_summary SET orders = orders + 1 WHERE customer_id = 'c-1'")
    await mended(database_url)
    assert await ours.differences() == []
