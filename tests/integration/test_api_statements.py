"""What PostgreSQL is asked on behalf of clients: a fixed set of statements, whatever the clients say."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import httpx2

from api.app import Pools, service
from consumer.local import LocalProjection
from consumer.read_models import READ_MODELS
from producer.handler import CommandHandler
from tests.support.commands import DATA, place
from tests.support.hostile import ALSO, BODIES, HEADERS, IDS, QUERIES
from tests.support.write_side import SOURCE, TOPIC, settings_of


async def test_statements_are_a_fixed_set_and_carry_no_values(database_url: str) -> None:
    """Every statement that the driver sends is recorded. What well-meant requests of each kind need is the set; what is
    asked of an id in bad faith is in it, and so each value goes beside its statement, as a parameter."""
    sent: set[str] = set()

    async def recorded(connection: Any) -> None:
        connection.add_query_logger(lambda one: sent.add(one.query))

    async with asyncpg.create_pool(database_url, min_size=1, max_size=4, init=recorded) as pool:
        handler = CommandHandler(pool, source=SOURCE, topic=TOPIC, project=LocalProjection(READ_MODELS))
        made = service(settings_of(database_url), Pools(pool, pool), handler, b"s" * 32, dev=True)
        transport = httpx2.ASGITransport(app=made.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            order = await ordinary(client)
            expected = {*sent}
            assert len(expected) > 10
            await in_bad_faith(client, order)
    assert sent - expected == set()


async def ordinary(client: httpx2.AsyncClient) -> str:
    """One of each call, with and without its filters and keys; the order's id."""
    [order, other] = [
        (await client.post("/orders", json=place(), headers={"Idempotency-Key": key})).json() for key in ("a", "b")
    ]
    where = f"/orders/{order['order_id']}"
    for path, kind in (("lines", "add_line"), ("confirm", "confirm"), ("pay", "pay"), ("cancel", "cancel")):
        answer = await client.post(f"{where}/{path}", json=DATA[kind] or {}, headers={"Idempotency-Key": f"{path}"})
        assert answer.status_code in (202, 409)
    assert (await client.post(f"/orders/{other['order_id']}/confirm")).status_code == 202
    placed = await client.post("/orders", json=place())
    token = {"X-Write-Token": placed.headers["X-Write-Token"]}
    for path in (
        where,
        f"{where}/timeline",
        f"{where}?min_version=99",
        "/orders/nobody",
        "/orders/nobody?min_version=1",
    ):
        assert (await client.get(path)).status_code in (200, 404, 503)
    assert (await client.get(placed.headers["Location"], headers=token)).status_code == 200
    for path in ("/orders", "/orders?customer_id=c-1&status=placed", "/customers/c-1", "/products/sku-1/sales"):
        assert (await client.get(path)).status_code == 200
    page = (await client.get("/orders?limit=1")).json()
    assert (await client.get("/orders", params={"limit": 1, "cursor": page["next_cursor"]})).status_code == 200
    assert (await client.get("/fulfilment-queue")).status_code == 200
    for path in ("/health/ready", "/", "/console/letters", f"/console/order?id={order['order_id']}"):
        assert (await client.get(path)).status_code == 200
    return str(order["order_id"])


async def in_bad_faith(client: httpx2.AsyncClient, order: str) -> None:
    for one in [*(text.decode("latin-1") for text in IDS), "'; DROP TABLE write_model.orders; --", "$1", "a\\b"]:
        for path in (f"/orders/{one}", f"/orders/{one}/timeline", f"/customers/{one}", f"/products/{one}/sales"):
            assert (await client.get(path)).status_code < 500
        for path in (f"/orders/{one}/confirm", f"/orders/{order}/{one}"):
            assert (await client.post(path)).status_code < 500
        assert (await client.delete(f"/orders/{order}/lines/{one}")).status_code < 500
        for params in ({"customer_id": one}, {"status": one}, {"cursor": one}, {"limit": one}):
            assert (await client.get("/orders", params=params)).status_code < 500
        reason = json.dumps({"reason": one})
        assert (await client.post(f"/orders/{order}/cancel", content=reason)).status_code < 500
    for target in [*QUERIES, *ALSO]:
        assert (await client.get(target.decode())).status_code < 500
    for body in BODIES:
        assert (await client.post("/orders", content=body)).status_code < 500
    for header in HEADERS:
        name, _, value = header.partition(b": ")
        assert (await client.get(f"/orders/{order}", headers={name: value})).status_code < 500
