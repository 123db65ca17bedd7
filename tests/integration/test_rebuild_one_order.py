"""One order folded anew from the journal: what was wrong is right."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from consumer.rebuild import one_order as module
from schemas.errors import Refused
from tests.support.engine import TOPIC, attributes, placed
from tests.support.mending import STATE, execute, mended, three_orders
from tests.support.rebuilding import Shop
from tests.support.redelivery import confirmed
from tests.support.streams import demo_stream


@pytest_asyncio.fixture
async def ours(database_url: str) -> AsyncIterator[Shop]:
    async with three_orders(database_url) as made:
        yield made


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
        (STATE.format("status = 'odd', carrier = 'x'"), {"status", "carrier"}, (), 0),
        (STATE.format("total = total + 1, paid = 0"), {"total", "paid"}, (), 0),
        (STATE.format("version = 1, last_event_id = NULL"), {"version", "last_event_id"}, (), 0),
        (STATE.format("lines = '[]', unit_count = 0, total = 0"), {"lines", "unit_count", "total"}, (), 0),
        (STATE.format("customer_id = 'c-9', currency = 'USD'"), {"customer_id", "currency"}, (), 0),
        (STATE.format("placed_at = NULL"), {"placed_at"}, (), 0),
        (STATE.format("placed_at = placed_at + interval '1 day'"), {"placed_at"}, (), 0),
        ("DELETE FROM projector.orders WHERE order_id = 'a'", {"version", "customer_id"}, (), 0),
        ("UPDATE projector.fulfilment_queue SET total = 0", set(), ("fulfilment_queue",), 0),
        ("DELETE FROM projector.fulfilment_queue", set(), ("fulfilment_queue",), 0),
        ("UPDATE projector.customer_summary SET revenue = revenue + 1", set(), (), 1),
        ("DELETE FROM projector.product_sales_daily", set(), (), 1),
        (
            "UPDATE projector.customer_summary SET orders = orders - 1 WHERE customer_id = 'c-1'; "
            "DELETE FROM projector.fulfilment_queue; " + STATE.format("status = NULL"),
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
        await execute(ours, STATE.format("total = total + 10"))
        await execute(ours, f"UPDATE projector.customer_summary SET revenue = revenue {off} WHERE customer_id = 'c-1'")
        await mended(database_url)
        assert await ours.differences() == []


async def test_damage_to_an_order_moves_no_share_to_a_customer_that_it_never_had(ours: Shop, database_url: str) -> None:
    await execute(
        ours,
        STATE.format("customer_id = 'c-2'"),
        "UPDATE projector.customer_summary SET orders = orders + 1 WHERE customer_id = 'c-2'",
        "UPDATE projector.customer_summary SET orders = orders - 1 WHERE customer_id = 'c-1'",
    )
    assert (await mended(database_url)).sums["customer_summary"] == 2
    assert await ours.differences() == []


async def test_a_state_that_no_read_model_can_take_is_put_right(ours: Shop, database_url: str) -> None:
    await execute(ours, STATE.format("""lines = '[{"sku": "x"}]'"""))
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
    await execute(ours, f"DELETE FROM projector.ledger WHERE order_id = 'a' AND {lost}", STATE.format("status = 'odd'"))
    before = await ours.fed.fetch("SELECT ctid::text, * FROM projector.orders")
    with pytest.raises(Refused, match=why):
        await mended(database_url)
    assert await ours.fed.fetch("SELECT ctid::text, * FROM projector.orders") == before


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
