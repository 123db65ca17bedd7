"""The shop's own producer: is what it sends an order?"""

from __future__ import annotations

import json
from decimal import Decimal

import asyncpg
from aiokafka import AIOKafkaProducer

from testkit.running import RunningWorker


async def checkout(producer: AIOKafkaProducer, topic: str, order_id: str, price: str) -> None:
    """Stands for the code under test: yours."""
    event = {
        "specversion": "1.0",
        "id": f"checkout-{order_id}",
        "source": "/shop/checkout",
        "type": "order.placed",
        "subject": order_id,
        "time": "2026-03-01T12:00:00Z",
        "sequence": 1,
        "data": {
            "customer": {"id": "c-1", "name": "Ada"},
            "currency": "EUR",
            "lines": [{"sku": "tea", "quantity": 2, "unit_price": price}],
        },
    }
    await producer.send_and_wait(topic, json.dumps(event).encode(), key=order_id.encode())


async def test_what_checkout_sends_is_an_order(
    projector_worker: RunningWorker, kafka_bootstrap: str, topic: str, database_url: str
) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
        await checkout(producer, topic, "o-1", price="6.25")
    await projector_worker.caught_up()
    connection = await asyncpg.connect(database_url)
    try:
        order = await connection.fetchrow("SELECT status, total FROM read_model.order_summary WHERE order_id = 'o-1'")
    finally:
        await connection.close()
    assert order is not None
    assert tuple(order) == ("placed", Decimal("12.50"))
