"""The read model of docs/adding-a-read-model.md, beside the built-in ones, in a real database."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from itertools import count
from typing import Any, NamedTuple

import asyncpg
import pytest_asyncio

from consumer.install import Installed, check, install
from consumer.projection import Projection
from consumer.read_models import READ_MODELS, ReadModel
from examples.adding_a_read_model.orders_by_country import OrdersByCountry
from schemas.connection import Connection
from schemas.wire import decode
from tests.support.rebuilds import from_journal

MODELS = (*READ_MODELS, OrdersByCountry())
SHARD = 1

_offsets = count()


class Record(NamedTuple):
    """A Kafka record, as far as the decoder looks at one."""

    key: bytes
    value: bytes | None
    offset: int
    headers: tuple[tuple[str, bytes], ...] = ()
    topic: str = "orders.events"
    partition: int = 0
    timestamp: int = 0


@pytest_asyncio.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    opened = await asyncpg.connect(database_url)
    yield opened
    await opened.close()


def event(order: str, version: int, kind: str, data: dict[str, Any] | None = None) -> Record:
    attributes = {"id": f"{order}/{version}", "source": "/shop", "type": f"order.{kind}", "subject": order}
    attributes |= {"specversion": "1.0", "time": f"2026-11-23T09:00:{version:02d}Z", "sequence": str(version)}
    return Record(order.encode(), json.dumps({**attributes, "data": data}).encode(), next(_offsets))


def placed(order: str, country: str, price: str) -> Record:
    line = {"sku": "tea", "quantity": 1, "unit_price": price}
    customer = {"id": "c-1", "name": "Ada"}
    data = {"customer": customer, "currency": "EUR", "lines": [line], "shipping_address": {"country": country}}
    return event(order, 1, "placed", data)


def moved(order: str, version: int, country: str) -> Record:
    return event(order, version, "address_changed", {"shipping_address": {"country": country}})


async def given(connection: Connection, *records: Record, models: Sequence[ReadModel] = MODELS) -> None:
    """Apply the records as one batch."""
    projection = Projection(models)
    items = [decode(record) for record in records]
    await projection.prepare(connection, items)
    async with connection.transaction():
        await projection.apply(connection, items, SHARD)


async def rows(connection: Connection) -> dict[str, tuple[int, Decimal]]:
    found = await connection.fetch("SELECT * FROM read_model.orders_by_country WHERE currency = 'EUR'")
    return {row["country"]: (row["orders"], row["revenue"]) for row in found}


async def made(connection: Connection) -> Installed:
    installed = await install(connection, MODELS)
    await check(connection, MODELS)
    return installed


async def test_it_is_installed_beside_the_others_once(connection: Connection) -> None:
    assert "orders_by_country" in (await made(connection)).read_models
    assert (await made(connection)).read_models == []


async def test_orders_add_up(connection: Connection) -> None:
    await made(connection)
    await given(connection, placed("o-1", "NL", "10.00"), placed("o-2", "nl", "2.50"), placed("o-3", "France", "1"))
    assert await rows(connection) == {"NL": (2, Decimal("12.5")), "??": (1, Decimal(1))}


async def test_a_share_moves_with_the_address(connection: Connection) -> None:
    await made(connection)
    await given(connection, placed("o-1", "NL", "10.00"))
    await given(connection, moved("o-1", 2, "FR"))
    assert await rows(connection) == {"FR": (1, Decimal(10))}


async def test_an_event_that_comes_again_adds_nothing(connection: Connection) -> None:
    await made(connection)
    again = placed("o-1", "NL", "10.00")
    await given(connection, again, again)
    await given(connection, moved("o-1", 2, "FR"), again)
    assert await rows(connection) == {"FR": (1, Decimal(10))}


async def test_what_is_cancelled_or_erased_is_taken_back(connection: Connection) -> None:
    await made(connection)
    await given(connection, placed("o-1", "NL", "10.00"), placed("o-2", "NL", "5.00"), placed("o-3", "NL", "1.00"))
    await given(connection, event("o-1", 2, "cancelled", {"reason": "no"}), Record(b"o-2", None, next(_offsets)))
    assert await rows(connection) == {"NL": (1, Decimal(1))}


async def test_in_a_database_with_orders_it_starts_with_them(connection: Connection) -> None:
    await install(connection)
    await given(connection, placed("o-1", "NL", "10.00"), models=READ_MODELS)
    await made(connection)
    assert await rows(connection) == {"NL": (1, Decimal(10))}
    await given(connection, moved("o-1", 2, "FR"))
    assert await rows(connection) == {"FR": (1, Decimal(10))}


class Changed(OrdersByCountry):
    version = 2


async def test_a_changed_one_is_made_anew_the_way_the_operations_page_says(
    connection: Connection, database_url: str
) -> None:
    await made(connection)
    await given(connection, placed("o-1", "NL", "10.00"))
    models = (*READ_MODELS, Changed())
    assert (await install(connection, models)).outdated == ["orders_by_country"]
    done = await from_journal(database_url, models=models, changed=True)
    assert (done.state, done.names) == ("swapped", ["orders_by_country"])
    await check(connection, models)
    assert await rows(connection) == {"NL": (1, Decimal(10))}
