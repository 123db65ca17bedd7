"""A shop's whole stream through faults that are mended later: after the retry it is as if they had never been."""

from __future__ import annotations

import random
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from consumer.install import install
from consumer.processor import Processor
from consumer.projection import Projection
from consumer.read_models import READ_MODELS, Contribution
from consumer.read_models.kinds import Type, columns
from schemas.events import Decoded, Event
from schemas.order import OrderState
from tests.support.engine import TOPIC, Engine, engine
from tests.support.redelivery import letters, retry, run_as_older
from tests.support.streams import Stream, stream


class Moody(Contribution):
    """A read model whose code fails on some orders, each at a moment of its own, until it is mended."""

    name = "moody"
    version = 1
    keys = columns(status=Type.TEXT)
    values = columns(orders=Type.COUNT)
    depends_on = ("status", "version")

    def __init__(self, *, mended: bool = False) -> None:
        self._mended = mended

    def contributions(self, order: OrderState) -> Any:
        luck = zlib.crc32(order.order_id.encode())
        if not self._mended and luck % 3 == 0 and order.version >= luck // 3 % 6:
            raise ZeroDivisionError(order.customer_name)
        yield (order.status or "",), (1,)


BROKEN, MENDED = (*READ_MODELS, Moody()), (*READ_MODELS, Moody(mended=True))
STATUSES = "SELECT status, orders FROM read_model.moody WHERE orders > 0 ORDER BY status"
TRUE_STATUSES = "SELECT status, count(*) AS orders FROM read_model.order_summary GROUP BY status ORDER BY status"


@pytest_asyncio.fixture
async def fed(database_url: str) -> AsyncIterator[Engine]:
    async with engine(database_url, BROKEN) as made:
        async with made.pool.acquire() as connection:
            await install(connection, BROKEN)
        yield made


def append(fed: Engine, part: Stream, luck: random.Random) -> None:
    for one in part.deliveries:
        headers = {name: value.decode() for name, value in one.headers}
        fed.append(one.value, key=one.key, partition=luck.randrange(3), **headers)


def unlucky(item: Decoded) -> bool:
    """What an older version couldn't read."""
    return isinstance(item, Event) and zlib.crc32(item.id.encode()) % 20 == 0


@pytest.mark.parametrize("number", range(3))
async def test_after_the_retry_it_is_as_if_nothing_had_been_wrong(fed: Engine, number: int) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    luck = random.Random(seed)
    sent = stream(150, seed % 1000, topic=TOPIC, poison=15, tombstones=5, shuffle=0.2, duplicates=0.2)
    for part in (half for whole in sent.halves() for half in whole.halves()):
        append(fed, part, luck)
        await (run_as_older(fed, unlucky) if luck.random() < 0.7 else fed.run(most=luck.choice((7, 100, None))))
        if luck.random() < 0.5:  # not mended yet: what can be applied is, what can't stays
            await retry(fed, execute=luck.random() < 0.5, models=BROKEN)
    kinds = {letter["reason"] for letter in await letters(fed)}
    assert kinds == {"unreadable", "projection_error"}
    fed.processor = Processor(fed.pool, Projection(MENDED))
    some = [letter["id"] for letter in await letters(fed) if luck.random() < 0.5]
    await retry(fed, *some, models=MENDED)
    await fed.run()
    await retry(fed, models=MENDED)
    assert await fed.differences(sent.meant) == []
    assert await fed.fetch(STATUSES) == await fed.fetch(TRUE_STATUSES)
    left = [letter for letter in await letters(fed) if letter["resolved_at"] is None]
    assert {letter["reason"] for letter in left} == {"unreadable"}
    assert len(left) == sum(reason == "unreadable" for reason, _ in sent.settled().dead)
