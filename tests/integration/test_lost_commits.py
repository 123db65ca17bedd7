"""COMMITs that nobody answers: whoever sent one finds out by the checkpoints whether it is in, and goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from consumer import checkpoints
from consumer.checkpoints import Place
from consumer.ledger import SourceNumbers
from consumer.reference import Event
from schemas.connection import Pool
from schemas.errors import OutOfPlace, Unavailable
from tests.support.engine import TOPIC, Engine, attributes, engine, placed
from tests.support.saboteurs.postgres import PostgresProxy
from tests.support.saboteurs.standby import address


@pytest.fixture
def proxy(database_url: str) -> Any:
    with PostgresProxy(address(database_url)) as made:
        yield made


@pytest_asyncio.fixture
async def fed(database_url: str, proxy: PostgresProxy) -> AsyncIterator[Engine]:
    """An engine behind the proxy, that holds two partitions with events of two orders."""
    async with engine(database_url.replace(address(database_url), proxy.address)) as made:
        made.send(placed("a"), attributes("a", 2, "order.confirmed"), partition=0)
        made.send(placed("b"), partition=1)
        await made.take()
        yield made


SENT = [Event(placed("a")), Event(attributes("a", 2, "order.confirmed")), Event(placed("b"))]


async def test_one_whose_answer_was_lost_is_known_to_be_in(fed: Engine, proxy: PostgresProxy) -> None:
    proxy.lose("reply")
    outcome = await fed.apply(fed.next_batch())
    assert (outcome.counts["applied"], outcome.orders) == (3, {"a": 2, "b": 1})
    assert [type(error) for error in fed.retries] == [Unavailable]
    assert [hold.next_offset for _, hold in sorted(fed.holds.items())] == [2, 1]
    assert await fed.differences(SENT) == []


async def test_one_that_never_arrived_is_sent_again_with_its_batch(fed: Engine, proxy: PostgresProxy) -> None:
    proxy.lose("request")
    assert (await fed.apply(fed.next_batch())).counts["applied"] == 3
    assert [type(error) for error in fed.retries] == [Unavailable]
    assert await fed.differences(SENT) == []


async def test_several_lost_in_a_row_are_one_batch_all_the_same(fed: Engine, proxy: PostgresProxy) -> None:
    proxy.lose("request", times=2)
    await fed.apply(fed.next_batch(2))
    proxy.lose("reply", times=1)
    await fed.apply(fed.next_batch())
    assert len(fed.retries) == 3
    assert await fed.differences(SENT) == []


@pytest.mark.parametrize("taken", [[0, 1], [1]], ids=["all", "one"])
async def test_who_has_lost_a_partition_meanwhile_learns_that_and_nothing_else(
    fed: Engine, proxy: PostgresProxy, monkeypatch: pytest.MonkeyPatch, taken: list[int]
) -> None:
    """What it committed stays; the new owner goes on behind it."""
    proxy.lose("reply")
    pool, reached = fed.pool, checkpoints.reached

    async def too_late(*arguments: Any) -> bool:
        await _take(pool, taken)
        return await reached(*arguments)

    monkeypatch.setattr(checkpoints, "reached", too_late)
    with pytest.raises(OutOfPlace):
        await fed.apply(fed.next_batch())
    assert await fed.differences(SENT) == []


async def test_a_batch_that_never_came_to_its_commit_asks_nobody(fed: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process of the same name and epoch can't be; but a place that has moved without us isn't ours."""
    asked: list[Any] = []
    monkeypatch.setattr(checkpoints, "reached", lambda *arguments: asked.append(arguments))
    await fed.value("UPDATE projector.checkpoints SET next_offset = 2 WHERE partition = 0")
    with pytest.raises(OutOfPlace):
        await fed.apply(fed.next_batch())
    assert asked == []


async def _take(pool: Pool, partitions: list[int]) -> None:
    async with pool.acquire() as connection:
        await checkpoints.take(connection, {Place(TOPIC, one): 0 for one in partitions}, "another")


async def test_the_numbers_of_sources_are_asked_for_again_after_an_outage(fed: Engine, proxy: PostgresProxy) -> None:
    """The server may be a standby by now, which lacks what the last one said a moment before it was lost."""
    await fed.apply(fed.next_batch(1))
    await fed.value("UPDATE projector.ledger SET source_no = source_no + 100")
    await fed.value("DELETE FROM projector.event_sources")
    proxy.lose("request")
    await fed.apply(fed.next_batch())
    orphans = (
        "SELECT count(*) FROM projector.ledger WHERE source_no NOT IN (SELECT source_no FROM projector.event_sources)"
    )
    assert await fed.value(orphans) == 1  # the one from before


async def test_numbers_in_doubt_can_be_used_by_a_batch_under_way(fed: Engine) -> None:
    numbers = SourceNumbers()
    async with fed.pool.acquire() as connection:
        await numbers.learn(connection, ["/shop"])
        known = numbers["/shop"]
        numbers.doubt()
        assert numbers["/shop"] == known
        await numbers.learn(connection, ["/shop"])
        assert numbers["/shop"] == known
