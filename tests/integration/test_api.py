"""The HTTP service on a real database: what it answers, and that it tells the truth about how old it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from api.app import Pools, Service, service
from testkit.deadline import eventually
from tests.support.commands import place
from tests.support.write_side import Till, settings_of, till

TOKEN = "a-token-of-some-length"
SECRET = b"s" * 32


@asynccontextmanager
async def serving(ours: Till, url: str, *, dev: bool = True) -> AsyncIterator[tuple[httpx2.AsyncClient, Service]]:
    settings = settings_of(url, api_tokens=(TOKEN,))
    made = service(settings, Pools(ours.pool, ours.pool), ours.handler, SECRET, dev=dev)
    stop = asyncio.Event()
    waiting = asyncio.ensure_future(made.waiting.run(stop))
    transport = httpx2.ASGITransport(app=made.app)
    try:
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client, made
    finally:
        stop.set()
        await waiting


@pytest_asyncio.fixture
async def local(database_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Local-first: readers see each command when it is answered."""
    async with till(database_url, local=True) as ours, serving(ours, database_url) as (client, _):
        yield client


@pytest_asyncio.fixture
async def eventual(database_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Eventual, with nobody at work: readers see nothing."""
    async with till(database_url) as ours, serving(ours, database_url) as (client, _):
        yield client


async def placed(client: httpx2.AsyncClient, **data: Any) -> tuple[str, str]:
    """The order's id, and the token."""
    answer = await client.post("/orders", json=place(**data))
    assert answer.status_code == 202, answer.text
    return answer.json()["order_id"], answer.headers["X-Write-Token"]


async def test_an_order_is_placed_and_found_where_the_answer_says(local: httpx2.AsyncClient) -> None:
    answer = await local.post("/orders", json=place())
    assert answer.status_code == 202
    assert answer.json()["version"] == 1
    found = await local.get(answer.headers["Location"])
    assert found.status_code == 200
    body = found.json()
    assert (body["version"], body["source"], body["order"]["status"]) == (1, "read_model", "placed")
    assert (body["order"]["total"], body["order"]["line_count"]) == ("20.0000", 1)
    assert found.headers["ETag"] == '"1.1"'
    assert found.headers["Cache-Control"] == "private, no-cache"
    again = await local.get(answer.headers["Location"], headers={"If-None-Match": found.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_a_reader_with_a_token_sees_the_write_wherever_it_is(eventual: httpx2.AsyncClient) -> None:
    order, token = await placed(eventual)
    assert (await eventual.get(f"/orders/{order}")).status_code == 404
    found = (await eventual.get(f"/orders/{order}", headers={"X-Write-Token": token})).json()
    assert (found["version"], found["source"]) == (1, "write_model")


async def test_a_token_makes_the_difference_where_the_read_model_is_behind(database_url: str) -> None:
    async with till(database_url, local=True) as shown, till(database_url) as behind:
        async with serving(shown, database_url) as (client, _):
            order, old = await placed(client)
        async with serving(behind, database_url) as (client, _):
            confirmed = await client.post(f"/orders/{order}/confirm")
            new = confirmed.headers["X-Write-Token"]
            found, columns = {}, set()
            for name, headers in {"none": {}, "old": {"X-Write-Token": old}, "new": {"X-Write-Token": new}}.items():
                body = (await client.get(f"/orders/{order}", headers=headers)).json()
                found[name] = (body["version"], body["source"], body["order"]["status"])
                columns.add(frozenset(body["order"]))
    assert len(columns) == 1  # the write model shows what the read model does
    assert found == {
        "none": (1, "read_model", "placed"),
        "old": (1, "read_model", "placed"),
        "new": (2, "write_model", "confirmed"),
    }


async def test_a_minimum_version_is_waited_for_and_then_not_made_up(database_url: str) -> None:
    async with till(database_url, local=True) as ours, serving(ours, database_url) as (local, made):
        order, _ = await placed(local)
        late = asyncio.ensure_future(local.get(f"/orders/{order}", params={"min_version": 2, "wait_ms": 5000}))
        await eventually(lambda: made.waiting.count == 1)
        assert not late.done()
        await local.post(f"/orders/{order}/confirm")
        assert (await late).json()["version"] == 2
        assert made.waiting.count == 0
        await never_there(local, order)


async def never_there(local: httpx2.AsyncClient, order: str) -> None:
    never = await local.get(f"/orders/{order}", params={"min_version": 3, "wait_ms": 50})
    assert never.status_code == 503
    assert int(never.headers["Retry-After"]) >= 1
    assert never.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "kind"),
    [
        ("ship", {"carrier": "p", "tracking_number": "t"}, {}, 409, "refused"),
        ("confirm", {"expected_version": 7}, {}, 409, "version-conflict"),
        ("confirm", {"expected_version": "x"}, {}, 422, "invalid"),
        ("confirm", {}, {"If-Match": '"1.7"'}, 412, "precondition-failed"),
        ("confirm", {}, {"If-Match": 'W/"1.1"'}, 412, "precondition-failed"),
        ("confirm", {}, {"If-Match": "garbage"}, 412, "precondition-failed"),
        ("confirm", {}, {"If-Match": '"1.1"'}, 202, None),
        ("confirm", {}, {"If-Match": "*"}, 202, None),
        ("pay", {"payment_id": "p"}, {}, 422, "invalid"),
        ("dance", {}, {}, 404, "not-found"),
    ],
)
async def test_what_can_not_be_done_is_said(
    local: httpx2.AsyncClient, path: str, body: Any, headers: dict[str, str], status: int, kind: str | None
) -> None:
    order, _ = await placed(local)
    answer = await local.post(f"/orders/{order}/{path}", json=body, headers=headers)
    assert answer.status_code == status, answer.text
    if kind is not None:
        assert answer.json()["type"] == f"urn:projector:problem:{kind}"


async def test_the_same_key_places_one_order(local: httpx2.AsyncClient) -> None:
    first, second = [await local.post("/orders", json=place(), headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert first.json()["order_id"] == second.json()["order_id"]
    assert (first.json()["repeated"], second.json()["repeated"]) == (False, True)
    other = await local.post("/orders", json=place(price="11"), headers={"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["type"]) == (422, "urn:projector:problem:key-reused")


async def test_lists_come_in_pages(local: httpx2.AsyncClient) -> None:
    orders = sorted([(await placed(local, customer="c-9"))[0] for _ in range(5)])
    await placed(local, customer="c-8")
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await local.get("/orders", params={"customer_id": "c-9", "limit": 2, **cursor})).json()
        seen += [order["order_id"] for order in page["orders"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == orders
    foreign = await local.get("/orders", params={"customer_id": "c-8", **cursor})
    assert foreign.status_code == 400
    assert (await local.get("/customers/c-9")).json()["summaries"][0]["orders"] == 5
    assert len((await local.get(f"/orders/{orders[0]}/timeline")).json()["events"]) == 1
    [day] = (await local.get("/products/sku-1/sales")).json()["days"]
    assert (day["orders"], day["revenue"]) == (6, "120.0000")
    await local.post(f"/orders/{orders[0]}/confirm")
    await local.post(f"/orders/{orders[0]}/pay", json={"payment_id": "p", "amount": 20})
    assert [one["order_id"] for one in (await local.get("/fulfilment-queue")).json()["orders"]] == [orders[0]]


async def test_nobody_asks_without_a_token(database_url: str) -> None:
    async with till(database_url, local=True) as ours, serving(ours, database_url, dev=False) as (client, _):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            assert (await client.get("/orders", headers=headers)).status_code == 401
        assert (await client.get("/orders", headers={"Authorization": f"Bearer {TOKEN}"})).status_code == 200
        assert (await client.get("/health/live")).status_code == 200


@pytest.mark.parametrize("token", [b"", b"x", b"\xe9", b"A" * 3000])
async def test_a_token_that_is_none_of_ours_is_refused(local: httpx2.AsyncClient, token: bytes) -> None:
    order, _ = await placed(local)
    answer = await local.get(f"/orders/{order}", headers={b"X-Write-Token": token})
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize(
    "path",
    [
        "/orders/a%00b", "/orders/'; DROP TABLE write_model.orders; --", "/orders/" + "x" * 201, "/orders/%ff",
        "/orders?limit=0", "/orders?limit=-1", "/orders?limit=501", "/orders?cursor=x", "/orders?customer_id=%00",
        "/orders/x?min_version=-1", "/orders/x?min_version=9223372036854775808", "/orders/x?wait_ms=99999999",
        "/products/a/sales?from=yesterday", "/customers/%00", "/nowhere", "/orders/" + "y" * 9000,
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_a_problem_of_the_clients(local: httpx2.AsyncClient, path: str) -> None:
    answer = await local.get(path)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"customer": 1e999}', b"null"])
async def test_a_body_that_is_no_order_is_a_problem_of_the_clients(local: httpx2.AsyncClient, body: bytes) -> None:
    answer = await local.post("/orders", content=body)
    assert answer.status_code == 422, answer.text
    assert (await local.get("/orders")).json()["orders"] == []


async def test_a_body_that_is_too_large_is_refused_however_it_comes(local: httpx2.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 64 * 1024

    assert (await local.post("/orders", content=b" " * 2**21)).status_code == 413
    assert (await local.post("/orders", content=chunks())).status_code == 413


async def test_keys_of_two_clients_are_two(database_url: str) -> None:
    async with till(database_url, local=True) as ours:
        made = service(
            settings_of(database_url, api_tokens=(TOKEN, TOKEN[::-1])),
            Pools(ours.pool, ours.pool),
            ours.handler,
            SECRET,
            dev=False,
        )
        transport = httpx2.ASGITransport(app=made.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            orders = set()
            for token in (TOKEN, TOKEN[::-1]):
                headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "k"}
                orders.add((await client.post("/orders", json=place(), headers=headers)).json()["order_id"])
    assert len(orders) == 2


async def test_a_token_is_not_weakened_by_a_minimum_below_it(database_url: str) -> None:
    """Where the write model doesn't have the order any more, a read model that is behind is no answer."""
    async with till(database_url, local=True) as shown, till(database_url) as behind:
        async with serving(shown, database_url) as (client, _):
            order, _ = await placed(client)
        async with serving(behind, database_url) as (client, _):
            token = (await client.post(f"/orders/{order}/confirm")).headers["X-Write-Token"]
            await behind.pool.execute("DELETE FROM write_model.orders")
            found = await client.get(
                f"/orders/{order}", params={"min_version": 1, "wait_ms": 50}, headers={"X-Write-Token": token}
            )
    assert found.status_code == 503
    assert found.json()["version"] == 1
