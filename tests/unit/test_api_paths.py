"""Ids in paths: each comes back as it was, and none is two segments."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from hypothesis import example, given
from hypothesis import strategies as st

from api.paths import BadPath, OrderId, quoted, routed, unquoted

IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=200)


@given(IDS)
@example("a/b")
@example("a%2Fb")
@example("%")
@example("%252F%25")
@example("..")
@example("a/confirm")
@example("?x=1#y")
def test_an_id_is_one_segment_and_comes_back(order_id: str) -> None:
    raw = f"/orders/{quoted(order_id)}".encode()
    assert raw.isascii()
    start, name, segment = routed(raw).split("/")
    assert (start, name) == ("", "orders")
    assert unquoted(segment) == order_id


@given(st.text("%25fFa/", max_size=12))
def test_escapes_are_decoded_once(text: str) -> None:
    """Whoever escapes everything, in either case, says the same."""
    everything = "".join(f"%{byte:02x}" for byte in text.encode())
    assert unquoted(routed(everything.encode())) == text
    assert unquoted(routed(everything.upper().encode())) == text


@pytest.mark.parametrize("raw", [b"/%", b"/%f", b"/%zz", b"/%ff", b"/%c3", b"/%ed%a0%80", b"/a%2", b"/\xff"])
def test_what_is_no_text_is_refused(raw: bytes) -> None:
    with pytest.raises(BadPath):
        routed(raw)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_path_or_refused(raw: bytes) -> None:
    with suppress(BadPath):
        assert not re.search("%(?!2[5Ff])", routed(raw))


def app() -> FastAPI:
    made = FastAPI()

    @made.get("/orders/{order_id}")
    async def read(order_id: OrderId) -> dict[str, Any]:
        return {"read": order_id}

    @made.get("/orders/{order_id}/confirm")
    async def confirm(order_id: OrderId) -> dict[str, Any]:
        return {"confirm": order_id}

    return made


async def asked(path: str) -> httpx2.Response:
    async def routing(scope: Any, receive: Any, send: Any) -> None:
        await made({**scope, "path": routed(scope["raw_path"])}, receive, send)

    made = app()
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=routing), base_url="http://test") as client:
        return await client.get(path)


@pytest.mark.parametrize("order_id", ["a", "a/b", "a/confirm", "a/", "/", "//", "%2F", "é/ü", "x" * 200, "/" * 200])
async def test_no_id_reaches_another_route(order_id: str) -> None:
    assert (await asked(f"/orders/{quoted(order_id)}")).json() == {"read": order_id}
    assert (await asked(f"/orders/{quoted(order_id)}/confirm")).json() == {"confirm": order_id}


@pytest.mark.parametrize("segment", ["x" * 201, "%2F" * 201, "a%00b"])
async def test_what_no_id_can_be_is_refused(segment: str) -> None:
    assert (await asked(f"/orders/{segment}")).status_code == 422
