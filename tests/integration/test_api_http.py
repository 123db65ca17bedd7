"""The HTTP of the HTTP service: ids in paths, methods, headers, and bodies as their document describes them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import httpx2
import pytest
import pytest_asyncio
from jsonschema import Draft202012Validator

from api import documents
from api.app import Pools, service
from tests.support.commands import DATA, place
from tests.support.write_side import Till, settings_of, till

SECRET = b"s" * 32


class Shop(NamedTuple):
    """The service on a database, local-first, and its write side."""

    client: httpx2.AsyncClient
    ours: Till


@pytest_asyncio.fixture
async def shop(database_url: str) -> AsyncIterator[Shop]:
    async with till(database_url, local=True) as ours:
        made = service(settings_of(database_url), Pools(ours.pool, ours.pool), ours.handler, SECRET, dev=True)
        transport = httpx2.ASGITransport(app=made.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            yield Shop(client, ours)


# Ids


IDS = [
    "a/b",
    "a/confirm",
    "/",
    "a//b",
    "%2F",
    "a%2Fb",
    "%",
    "%25",
    "ü/é",
    "a b",
    "a?b=c#d",
    "o;p",
    "💣",
    "x" * 200,
    "..a",
]


@pytest.mark.parametrize("order_id", IDS)
async def test_an_order_is_found_whatever_its_id(shop: Shop, order_id: str) -> None:
    await shop.ours.ask("place", order_id, place(customer=order_id, sku=order_id))
    where = "/orders/" + "".join(f"%{byte:02X}" for byte in order_id.encode())
    confirmed = await shop.client.post(f"{where}/confirm")
    assert confirmed.status_code == 202, confirmed.text
    assert confirmed.json()["order_id"] == order_id
    found = await shop.client.get(
        confirmed.headers["Location"], headers={"X-Write-Token": confirmed.headers["X-Write-Token"]}
    )
    assert (found.json()["order"]["order_id"], found.json()["version"]) == (order_id, 2)
    named = where.removeprefix("/orders/")
    assert len((await shop.client.get(f"{where}/timeline")).json()["events"]) == 2
    assert (await shop.client.get(f"/customers/{named}")).json()["summaries"][0]["customer_id"] == order_id
    assert (await shop.client.get(f"/products/{named}/sales")).json()["days"][0]["sku"] == order_id
    assert (await shop.client.delete(f"{where}/lines/{named}")).json()["reason"] == "confirmed"


async def test_a_path_that_is_no_text_is_refused(shop: Shop) -> None:
    for path in ("/orders/%ff", "/orders/%c3%28", "/%ed%a0%80"):
        answer = await shop.client.get(path)
        assert (answer.status_code, answer.json()["type"]) == (400, "urn:projector:problem:invalid")


# What is signed


async def test_a_cursor_that_was_changed_is_refused(shop: Shop) -> None:
    for number in range(3):
        await shop.ours.tell(f"o-{number}", "place")
    cursor = (await shop.client.get("/orders", params={"limit": 1})).json()["next_cursor"]
    assert (await shop.client.get("/orders", params={"cursor": cursor})).status_code == 200
    changed = [cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :] for at in range(len(cursor) - 1)]
    for one in [*changed, cursor[:-2], cursor + "AAAA", cursor.upper(), cursor * 2]:
        answer = await shop.client.get("/orders", params={"cursor": one})
        assert (answer.status_code, answer.json()["type"]) == (400, "urn:projector:problem:invalid-cursor"), one
    for path in ("/orders?status=placed&", "/fulfilment-queue?", "/orders/o-1/timeline?", "/products/sku-1/sales?"):
        assert (await shop.client.get(f"{path}cursor={cursor}")).status_code == 400


async def test_a_token_of_another_order_shows_nothing_of_either(shop: Shop) -> None:
    [mine, other] = [await shop.client.post("/orders", json=place(customer=who)) for who in ("c-1", "c-2")]
    await shop.ours.fetch("DELETE FROM projector.orders")
    token = {"X-Write-Token": other.headers["X-Write-Token"]}
    assert (await shop.client.get(mine.headers["Location"], headers=token)).status_code == 404
    assert (await shop.client.get(other.headers["Location"], headers=token)).status_code == 200


# Methods


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/orders", "GET, HEAD, POST"),
        ("DELETE", "/orders/x", "GET, HEAD"),
        ("GET", "/orders/x/confirm", "POST"),
        ("HEAD", "/orders/x/confirm", "POST"),
        ("POST", "/orders/x/timeline", "GET, HEAD"),
        ("POST", "/orders/x/lines/y", "DELETE"),
        ("OPTIONS", "/orders", "GET, HEAD, POST"),
        ("DELETE", "/openapi.json", "GET, HEAD"),
    ],
)
async def test_a_method_that_is_not_there_is_refused_with_those_that_are(
    shop: Shop, method: str, path: str, allowed: str
) -> None:
    answer = await shop.client.request(method, path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_head_is_get_without_the_body(shop: Shop) -> None:
    await shop.ours.tell("o-1", "place")
    for path in ("/orders/o-1", "/orders", "/freshness", "/orders/nobody", "/health/live"):
        got, headed = await shop.client.get(path), await shop.client.head(path)
        assert (headed.status_code, headed.content) == (got.status_code, b"")
        assert {**headed.headers, "content-length": ""} == {**got.headers, "content-length": ""}
    tagged = (await shop.client.head("/orders/o-1")).headers["ETag"]
    assert (await shop.client.head("/orders/o-1", headers={"If-None-Match": tagged})).status_code == 304


@pytest.mark.parametrize("path", ["/orders/", "/orders/x/", "/x//orders", "/orders/x/dance/y", "/docs", "/redoc"])
async def test_other_paths_are_not_there(shop: Shop, path: str) -> None:
    answer = await shop.client.get(path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")


# Commands


@pytest.mark.parametrize("body", [b"{", b"[]", b"1", b'"x"', b"null", b'{"a": NaN}', b"\xff"])
async def test_a_command_without_data_takes_an_object_or_nothing(shop: Shop, body: bytes) -> None:
    await shop.ours.tell("o-1", "place")
    answer = await shop.client.post("/orders/o-1/confirm", content=body)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:projector:problem:invalid")
    assert (await shop.client.post("/orders/o-1/confirm", content=b"{}")).status_code == 202


async def test_a_trace_that_can_not_be_read_is_left_out(shop: Shop) -> None:
    good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    traces = [good, "garbage", "é", good.upper(), f"{good}0", "00-" + "0" * 32 + "-b7ad6b7169203331-01"]
    for trace in traces:
        answer = await shop.client.post("/orders", json=place(), headers={b"traceparent": trace.encode("latin-1")})
        assert answer.status_code == 202
    kept = await shop.ours.fetch("SELECT traceparent FROM write_model.outbox ORDER BY position")
    assert [row["traceparent"] for row in kept] == [good, *[None] * 5]


async def test_numbers_of_any_size_are_shown(shop: Shop) -> None:
    quantity = 10**30
    placed = await shop.client.post("/orders", json=place(price="0.0001", quantity=quantity))
    where, token = placed.headers["Location"], {"X-Write-Token": placed.headers["X-Write-Token"]}
    assert (await shop.client.get(where)).json()["order"]["unit_count"] == quantity
    await shop.ours.fetch("DELETE FROM projector.orders")
    written = (await shop.client.get(where, headers=token)).json()
    assert (written["source"], written["order"]["lines"][0]["quantity"]) == ("write_model", quantity)


# Documents


async def test_bodies_are_what_the_document_says_to_the_last_member(shop: Shop) -> None:
    """A member that the document doesn't have would be one that nobody knows of."""
    client = shop.client
    placed = await client.post("/orders", json=place())
    where, token = placed.headers["Location"], {"X-Write-Token": placed.headers["X-Write-Token"]}
    for command, kind in (("confirm", "confirm"), ("pay", "pay")):
        assert (await client.post(f"{where}/{command}", json=DATA[kind] or {})).status_code == 202
    document = (await client.get("/openapi.json")).json()
    shown = {
        "Accepted": placed.json(),
        "OrderAnswer": (await client.get(where)).json(),
        "OrdersPage": (await client.get("/orders")).json(),
        "TimelinePage": (await client.get(f"{where}/timeline")).json(),
        "CustomerPage": (await client.get("/customers/c-1")).json(),
        "SalesPage": (await client.get("/products/sku-1/sales")).json(),
        "QueuePage": (await client.get("/fulfilment-queue")).json(),
        "FreshnessAnswer": (await client.get("/freshness")).json(),
        "Problem": (await client.get("/orders/nobody")).json(),
        "Live": (await client.get("/health/live")).json(),
        "Ready": (await client.get("/health/ready")).json(),
    }
    await shop.ours.fetch("DELETE FROM projector.orders")
    shown_by_the_write_model = (await client.get(where, headers=token)).json()
    assert shown_by_the_write_model["source"] == "write_model"
    assert set(shown) == {model.__name__ for model in documents.MODELS}
    for name, body in [*shown.items(), ("OrderAnswer", shown_by_the_write_model)]:
        schema = {"$ref": f"#/components/schemas/{name}", "components": closed(document["components"])}
        Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(body)


def closed(components: Mapping[str, Any]) -> dict[str, Any]:
    """The same, where no object may have other members than those described."""
    schemas = {
        name: {**schema, "additionalProperties": False} if "properties" in schema else schema
        for name, schema in components["schemas"].items()
    }
    return {**components, "schemas": schemas}


# Metrics


async def test_requests_are_counted_by_route_and_status(shop: Shop) -> None:
    await shop.ours.tell("o-1", "place")
    for path in ("/orders/o-1", "/orders/nobody", "/orders/a%2Fb", "/nowhere"):
        await shop.client.get(path)
    text = (await shop.client.get("/metrics")).text
    assert 'projector_api_requests_total{route="/orders/{order_id}",status="2xx"} 1.0' in text
    assert 'projector_api_requests_total{route="/orders/{order_id}",status="4xx"} 2.0' in text
    assert 'projector_api_requests_total{route="none",status="4xx"} 1.0' in text
    assert 'projector_api_request_seconds_count{route="/orders/{order_id}"} 3.0' in text
    assert "o-1" not in text
