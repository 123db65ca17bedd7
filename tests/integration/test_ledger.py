"""What the ledger keeps of an event, beyond its identity."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.engine import Engine, attributes, placed
from tests.support.engine import engine as made

OLD = {
    "customer_id": "c-1",
    "customer_name": "Ada",
    "currency": "EUR",
    "items": [{"sku": "pen", "quantity": 1, "unit_price": "1.00"}],
}


@pytest_asyncio.fixture
async def engine(database_url: str) -> AsyncIterator[Engine]:
    async with made(database_url) as fleet:
        yield fleet


async def test_the_ledger_says_in_which_version_data_are_written(engine: Engine) -> None:
    old = attributes("o-1", 1, "order.placed", OLD) | {"specversion": "1.0", "schemaversion": 0}
    engine.append(json.dumps(old).encode(), key=b"o-1")
    newer = attributes("o-1", 2, "order.confirmed") | {"specversion": "1.0", "schemaversion": 10**12}
    engine.append(json.dumps(newer).encode(), key=b"o-1")
    engine.send(placed("o-2"))
    await engine.run()
    rows = await engine.fetch("SELECT order_id, version, schema_version FROM projector.ledger ORDER BY 1, 2")
    # 1 is what most are: it takes no room. A version that no 32 bits hold is as much newer as the newest that they do.
    assert [tuple(row.values()) for row in rows] == [("o-1", 1, 0), ("o-1", 2, 2**31 - 1), ("o-2", 1, None)]
