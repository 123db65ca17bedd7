"""Histories leave the ledger: which may, which stay, and that nothing else changes by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from consumer.prune import Pruned, prune
from consumer.rebuild.leftovers import cancel, drop_old
from consumer.rebuild.one_order import rebuild_order
from schemas.errors import Refused
from tests.support.engine import attributes, placed
from tests.support.rebuilding import Shop, rebuild, shop
from tests.support.rebuilds import settings_of
from tests.support.redelivery import confirmed, letters, of_version, run_as_older

MONTH = timedelta(days=30)  # usual events are of March 2026, which is longer ago
LEDGER = "SELECT order_id || ' ' || version AS event FROM projector.ledger ORDER BY order_id, version"


@pytest_asyncio.fixture
async def ours(database_url: str) -> AsyncIterator[Shop]:
    async with shop(database_url) as made:
        yield made


def young(event: dict[str, Any]) -> dict[str, Any]:
    """The same, of an hour ago."""
    return {**event, "time": (datetime.now(UTC) - timedelta(hours=1)).isoformat()}


async def pruned(url: str, **more: Any) -> Pruned:
    return await prune(settings_of(url), MONTH, None, **more)


async def left(ours: Shop) -> list[str]:
    return [row["event"] for row in await ours.fed.fetch(LEDGER)]


async def test_histories_that_are_old_go_as_a_whole_and_the_orders_stay(ours: Shop, database_url: str) -> None:
    await ours.tell(placed("old"), confirmed("old", 2), placed("mixed"), young(confirmed("mixed", 2)))
    await ours.tell(young(placed("young")))
    before = await ours.fed.fetch("SELECT * FROM read_model.order_summary ORDER BY order_id")
    sums = await ours.fed.fetch("SELECT * FROM read_model.customer_summary")
    done = await pruned(database_url)
    assert (done.orders, done.events, done.orders_seen) == (1, 2, 3)
    assert await left(ours) == ["mixed 1", "mixed 2", "young 1"]
    assert await ours.fed.fetch("SELECT * FROM read_model.order_summary ORDER BY order_id") == before
    assert await ours.fed.fetch("SELECT * FROM read_model.customer_summary") == sums
    assert (await pruned(database_url)).orders == 0


async def test_an_event_that_is_late_keeps_a_history_though_a_newer_version_is_old(
    ours: Shop, database_url: str
) -> None:
    await ours.tell(young(placed("a")), confirmed("a", 2))
    assert (await pruned(database_url)).orders == 0


async def test_a_dry_run_says_what_would_go_and_drops_nothing(ours: Shop, database_url: str) -> None:
    await ours.tell(placed("a"), confirmed("a", 2))
    done = await pruned(database_url, dry=True)
    assert (done.orders, done.events) == (1, 2)
    assert await left(ours) == ["a 1", "a 2"]
    assert await ours.fed.fetch("SELECT * FROM projector.pruned_orders") == []


async def test_what_waits_keeps_its_orders_history(ours: Shop, database_url: str) -> None:
    await ours.tell(placed("a"), confirmed("a", 3))
    assert (await pruned(database_url)).orders == 0
    await ours.tell(confirmed("a", 2))
    assert (await pruned(database_url)).events == 3


async def test_an_open_letter_keeps_its_orders_history(ours: Shop, database_url: str) -> None:
    await ours.tell(placed("a"), placed("b"), confirmed("b", 2))
    ours.fed.send(confirmed("a", 2))
    await run_as_older(ours.fed, of_version(2))
    [letter] = await letters(ours.fed)
    await ours.fed.pool.execute("UPDATE projector.dead_letters SET order_id = 'a'")
    await pruned(database_url)
    assert await left(ours) == ["a 1"]
    await ours.fed.pool.execute(
        "UPDATE projector.dead_letters SET resolution = 'discarded', resolved_at = now() WHERE id = $1", letter["id"]
    )
    await pruned(database_url)
    assert await left(ours) == []


async def test_what_was_dropped_comes_again_and_is_a_duplicate(ours: Shop, database_url: str) -> None:
    first = [placed("a"), confirmed("a", 2)]
    await ours.tell(*first)
    await pruned(database_url)
    ours.fed.send(*first)
    outcome = await ours.fed.run()
    assert outcome.counts["duplicate"] == 2
    assert await letters(ours.fed) == []


async def test_an_order_goes_on_behind_what_was_dropped(ours: Shop, database_url: str) -> None:
    await ours.tell(placed("a"), confirmed("a", 2))
    await pruned(database_url)
    again = [
        attributes("a", version, "order.address_changed", {"shipping_address": {"city": "B"}}) for version in (4, 3)
    ]
    await ours.tell(*again)
    assert await left(ours) == ["a 3", "a 4"]
    ours.fed.send(attributes("a", 3, "order.confirmed", id_="another"))
    assert (await ours.fed.run()).counts["version_conflict"] == 1  # this version's history is there
    await ours.fed.pool.execute("DELETE FROM projector.dead_letters")
    assert (await pruned(database_url)).events == 2
    assert await ours.fed.fetch("SELECT order_id, version FROM projector.pruned_orders") == [
        {"order_id": "a", "version": 4}
    ]


async def test_an_order_that_is_erased_is_forgotten_here_too(ours: Shop, database_url: str) -> None:
    await ours.tell(placed("a"))
    await pruned(database_url)
    await ours.erase("a")
    assert await ours.fed.fetch("SELECT * FROM projector.pruned_orders") == []
    await pruned(database_url)
    assert await ours.fed.fetch("SELECT * FROM projector.pruned_orders") == []
    assert await ours.differences() == []


async def test_an_order_that_is_being_written_is_left_for_the_next_time(ours: Shop, database_url: str) -> None:
    await ours.tell(placed("a"), placed("b"))
    async with ours.fed.pool.acquire() as writer, writer.transaction():
        await writer.execute("UPDATE projector.orders SET revision = revision WHERE order_id = 'a'")
        async with asyncio.timeout(10):
            assert (await pruned(database_url)).orders == 1
    assert await left(ours) == ["a 1"]


async def test_many_orders_take_many_transactions(
    ours: Shop, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.prune._PAGE", 3)
    await ours.tell(*(placed(f"o-{number}") for number in range(10)), young(placed("o-55")))
    done = await pruned(database_url)
    assert (done.orders, done.orders_seen) == (10, 11)
    assert await left(ours) == ["o-55 1"]


async def test_told_to_stop_it_ends_after_the_page_in_hand(
    ours: Shop, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.prune._PAGE", 3)
    await ours.tell(*(placed(f"o-{number}") for number in range(10)))
    stop = asyncio.Event()
    stop.set()
    assert (await pruned(database_url, stop=stop)).orders == 0


async def test_the_journal_is_kept_whole_as_long_as_a_rebuild_needs_it(ours: Shop, database_url: str) -> None:
    await ours.tell(placed("a"))
    await rebuild(database_url, swap=False)
    with pytest.raises(Refused, match="rebuild --cancel"):
        await pruned(database_url)
    await cancel(settings_of(database_url))
    await rebuild(database_url)
    with pytest.raises(Refused, match="rebuild --drop-old"):
        await pruned(database_url)
    await drop_old(settings_of(database_url))
    assert (await pruned(database_url)).orders == 1


async def test_beside_a_rebuild_it_is_refused(ours: Shop, database_url: str) -> None:
    await ours.tell(placed("a"))

    async def prune_beside() -> None:
        with pytest.raises(Refused, match="another rebuild runs"):
            await pruned(database_url)

    await rebuild(database_url, at={"rebuild_created": prune_beside})
    assert await left(ours) == ["a 1"]


async def test_from_the_journal_nothing_can_be_rebuilt_any_more(ours: Shop, database_url: str) -> None:
    await ours.tell(placed("a"), young(placed("b")))
    await pruned(database_url)
    with pytest.raises(Refused, match="lacks the history of 1 orders: rebuild from the log or an archive"):
        await rebuild(database_url)
    with pytest.raises(Refused, match="the journal has 0 events of order a, which stands at version 1"):
        await rebuild_order(settings_of(database_url), "a")
    assert not (await rebuild_order(settings_of(database_url), "b")).changed
