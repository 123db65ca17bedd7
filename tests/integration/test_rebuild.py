"""Read models made anew from the journal beside the live ones, and swapped in."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.engine import TOPIC, Engine, engine
from tests.support.rebuilds import from_journal
from tests.support.streams import Stream, demo_stream


@pytest_asyncio.fixture
async def fed(database_url: str) -> AsyncIterator[Engine]:
    async with engine(database_url) as made:
        yield made


@pytest.fixture
def stream() -> Stream:
    return demo_stream(80, 11, topic=TOPIC)


def give(fed: Engine, stream: Stream) -> None:
    for delivery in stream.deliveries:
        fed.append(delivery.value, key=delivery.key)
        fed.logs[0][-1] = fed.logs[0][-1]._replace(headers=tuple(delivery.headers))


async def test_a_rebuild_of_everything_leaves_the_same_rows_in_other_tables(
    fed: Engine, stream: Stream, database_url: str
) -> None:
    give(fed, stream)
    await fed.run(most=100)
    before = await fed.fetch("SELECT oid FROM pg_class WHERE oid = 'projector.orders'::regclass")
    done = await from_journal(database_url)
    assert (done.state, done.comparison.counts) == ("swapped", {})
    assert await fed.fetch("SELECT oid FROM pg_class WHERE oid = 'projector.orders'::regclass") != before
    assert await fed.differences(stream.meant) == []
