"""A shop with three orders of two customers, and one of them damaged and mended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from consumer.rebuild.one_order import Mended, rebuild_order
from tests.support.engine import attributes, placed
from tests.support.rebuilding import Shop, shop
from tests.support.rebuilds import settings_of
from tests.support.redelivery import confirmed

STATE = "UPDATE projector.orders SET {} WHERE order_id = 'a'"


@asynccontextmanager
async def three_orders(url: str) -> AsyncIterator[Shop]:
    async with shop(url) as made:
        paid = attributes("a", 3, "order.payment_captured", {"payment_id": "p", "amount": "25.00"})
        await made.tell(placed("a"), confirmed("a", 2), paid, placed("b"), placed("c", customer="c-2"))
        yield made


async def mended(url: str, order: str = "a") -> Mended:
    return await rebuild_order(settings_of(url), order)


async def execute(shop: Shop, *statements: str) -> None:
    async with shop.fed.pool.acquire() as connection:
        for statement in statements:
            await connection.execute(statement)
