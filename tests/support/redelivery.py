"""Dead letters tried again in tests, and what the reference model makes of that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from consumer import reference
from consumer.install import install
from consumer.letters import Selection
from consumer.projection import Outcome, Projection
from consumer.read_models import READ_MODELS, Contribution, ReadModel
from consumer.read_models.kinds import Type, columns
from consumer.redelivery import Redelivery, Retried
from schemas.events import Decoded, Event, Unreadable
from schemas.order import OrderState
from schemas.wire import decode
from tests.support.engine import Engine, attributes, engine

Delivery = reference.Event | reference.Broken | reference.Tombstone


async def retry(
    fed: Engine, *ids: int, execute: bool = True, models: Sequence[ReadModel] = READ_MODELS, **selected: Any
) -> list[Retried]:
    """Try letters again: those with these ids, or all that the selection has."""
    redelivery = Redelivery(fed.pool, lambda: Projection(models), "tester", execute=execute)
    return [one async for one in redelivery.run(Selection(ids=ids or None, **selected))]


def becomes(done: Sequence[Retried]) -> dict[int, str]:
    """What became of each letter."""
    return {fate.letter: fate.becomes for one in done for fate in one.letters}


async def letters(fed: Engine) -> list[dict[str, Any]]:
    """All letters, the oldest first."""
    return await fed.fetch("SELECT * FROM projector.dead_letters ORDER BY id")


async def run_as_older(fed: Engine, refuses: Callable[[Decoded], bool]) -> Outcome:
    """Apply what is in the logs as a version did that could not yet read some of it."""
    await fed.take()
    items = [decode(record) for record in fed.next_batch()]
    read = [Unreadable("as an older version put it", None, None, one.record) if refuses(one) else one for one in items]
    outcome, fed.holds = await fed.processor.process(read, fed.holds)
    return outcome


def of_places(places: set[tuple[int, int]]) -> Callable[[Decoded], bool]:
    """Records at these partitions and offsets."""
    return lambda item: (item.record.partition, item.record.offset) in places


def of_version(*versions: int) -> Callable[[Decoded], bool]:
    """Events of these versions."""
    return lambda item: isinstance(item, Event) and item.version in versions


class Fussy(Contribution):
    """A read model whose code fails on what Bad & Co ship, until it is mended."""

    name = "fussy"
    version = 1
    keys = columns(carrier=Type.TEXT)
    values = columns(orders=Type.COUNT)
    depends_on = ("carrier",)

    def __init__(self, *, mended: bool = False) -> None:
        self._mended = mended

    def contributions(self, order: OrderState) -> Any:
        if order.carrier == "Bad & Co" and not self._mended:
            raise KeyError(order.customer_name)
        yield (order.carrier or "",), (1,)


BROKEN, MENDED = (*READ_MODELS, Fussy()), (*READ_MODELS, Fussy(mended=True))


@asynccontextmanager
async def fussy_engine(url: str) -> AsyncIterator[Engine]:
    """An engine one of whose read models fails on what Bad & Co ship."""
    async with engine(url, BROKEN) as made:
        async with made.pool.acquire() as connection:
            await install(connection, BROKEN)
        yield made


def confirmed(order: str, version: int, **more: Any) -> dict[str, Any]:
    return attributes(order, version, "order.confirmed", None, **more)


def shipped(order: str, version: int, **more: Any) -> dict[str, Any]:
    """By Bad & Co."""
    return attributes(order, version, "order.shipped", {"carrier": "Bad & Co", "tracking_number": "1"}, **more)
