"""The gate: who is let in, by token and certificate, how many at once, and how large."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from api import limits
from api.limits import MOST_BODY, MOST_HEADERS, MOST_TARGET, ORDINARY, STREAMS, WAITING
from api.security import Gate
from runtime.http_connection import CERTIFICATE

TOKENS = ("a-token-of-some-length", "another-token-of-some")
CERTIFICATES = ("ab" * 32, "cd" * 32)

App = Callable[[Any, Any, Any], Awaitable[None]]


def scope(path: str = "/orders", *, query: bytes = b"", state: Any = None, **headers: str) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()],
        "state": state or {},
    }


async def nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


class Entered:
    """An app that remembers who came, and keeps them until it is told to let them go; but for who says `go` itself."""

    def __init__(self) -> None:
        self.clients: list[str] = []
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.clients.append(scope.get("projector.client"))
        if b"go" not in scope["query_string"]:
            await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def status(gate: App, asked: dict[str, Any], receive: Any = nothing) -> int:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await gate(asked, receive, send)
    return int(sent[0]["status"])


# Who


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", f"Basic {TOKENS[0]}", f"Bearer {TOKENS[0]}x", TOKENS[0], "Bearer \xe9", "bearer,x"],
)
async def test_who_has_no_token_is_not_let_in(header: str) -> None:
    entered = Entered()
    assert await status(Gate(entered, TOKENS), scope(authorization=header)) == 401
    assert await status(Gate(entered, ()), scope(authorization=header)) == 401
    assert entered.clients == []


async def test_each_token_is_a_client_and_none_is_the_token() -> None:
    entered = Entered()
    for token in (*TOKENS, TOKENS[0]):
        assert await status(Gate(entered, TOKENS), scope(authorization=f"bearer  {token} ")) == 200
    one, other, again = entered.clients
    assert one == again != other
    assert not any(token in client for token in TOKENS for client in entered.clients)


async def test_each_certificate_is_a_client_whatever_headers_say() -> None:
    entered = Entered()
    gate = Gate(entered, None, certified=True)
    for certificate in CERTIFICATES:
        assert await status(gate, scope(state={CERTIFICATE: certificate})) == 200
    assert len(set(entered.clients)) == 2
    assert await status(gate, scope()) == 401
    assert await status(gate, scope(certificate=CERTIFICATES[0], projector_certificate=CERTIFICATES[0])) == 401


async def test_with_both_set_both_are_needed_and_both_are_the_client() -> None:
    entered = Entered()
    gate = Gate(entered, TOKENS, certified=True)
    shown = {CERTIFICATE: CERTIFICATES[0]}
    assert await status(gate, scope(state=shown)) == 401
    assert await status(gate, scope(authorization=f"Bearer {TOKENS[0]}")) == 401
    for certificate in CERTIFICATES:
        for token in TOKENS:
            asked = scope(state={CERTIFICATE: certificate}, authorization=f"Bearer {token}")
            assert await status(gate, asked) == 200
    assert len(set(entered.clients)) == 4


async def test_health_is_open_and_nothing_that_looks_like_it() -> None:
    gate = Gate(Entered(), TOKENS)
    assert await status(gate, scope("/health/live")) == 200
    assert await status(gate, scope("/health/ready")) == 200
    for path in (
        "/health",
        "/health/live/",
        "//health/live",
        "/health/live/../../orders",
        "/health%2Flive",
        "/metrics",
    ):
        assert await status(gate, scope(path)) == 401


# How much


@pytest.mark.parametrize(
    ("path", "query", "most"),
    [
        ("/orders/x", b"", ORDINARY),
        ("/orders/x", b"min_version=2&wait_ms=10", WAITING),
        ("/orders/x", b"min_version=2&%77ait%5Fms=10", WAITING),
        ("/orders/x/stream", b"", STREAMS),
    ],
)
async def test_a_crowd_of_one_kind_keeps_no_other_out(path: str, query: bytes, most: int) -> None:
    entered = Entered()
    gate = Gate(entered, None)
    entered.go.clear()
    crowd = [asyncio.ensure_future(status(gate, scope(path, query=query))) for _ in range(most)]
    while len(entered.clients) < most:
        await asyncio.wait(crowd, timeout=0)
    free = {
        ("/orders/x", b"go"): ORDINARY,
        ("/orders/x", b"wait_ms=1&go"): WAITING,
        ("/orders/x/stream", b"go"): STREAMS,
    }
    for (other, asked), kind in free.items():
        assert await status(gate, scope(other, query=asked)) == (503 if kind == most else 200)
    entered.go.set()
    assert await asyncio.gather(*crowd) == [200] * most
    assert await status(gate, scope(path, query=query)) == 200


async def test_what_is_too_large_is_not_read() -> None:
    gate = Gate(Entered(), None)
    assert await status(gate, scope("/" + "x" * MOST_TARGET)) == 414
    assert await status(gate, scope(query=b"x" * MOST_TARGET)) == 414
    for length in (str(MOST_BODY + 1), "-1", "1e3", "9" * 100, "x"):
        assert await status(gate, scope(content_length=length)) == 413
    assert await status(gate, scope(content_length=str(MOST_BODY))) == 200
    assert await status(gate, scope(a="x" * MOST_HEADERS)) == 431
    assert await status(gate, scope(content_length="5", transfer_encoding="chunked")) == 400


async def reading(scope: Any, receive: Any, send: Any) -> None:
    """An app that reads the body to its end, and then waits for the client to go."""
    while (await receive())["more_body"]:
        pass
    await Entered()(scope, receive, send)
    await receive()


async def test_a_body_that_does_not_say_how_large_it_is_is_cut_off() -> None:
    chunks = [b"x" * 2**16] * (MOST_BODY // 2**16)

    async def more() -> dict[str, Any]:
        return {"type": "http.request", "body": chunks.pop() if chunks else b"", "more_body": bool(chunks)}

    assert await status(Gate(reading, None), scope(), more) == 200
    chunks += [b"x" * 2**16] * (MOST_BODY // 2**16 + 1)
    assert await status(Gate(reading, None), scope(), more) == 413


async def test_a_body_has_its_time_and_what_comes_after_it_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.01)
    never = asyncio.Event()

    async def silent() -> dict[str, Any]:
        await never.wait()
        return {}

    assert await status(Gate(reading, None), scope(), silent) == 408
    came = iter([await nothing()])

    async def then_silent() -> dict[str, Any]:
        return next(came, None) or await silent()

    asked = asyncio.ensure_future(status(Gate(reading, None), scope(), then_silent))
    assert not (await asyncio.wait([asked], timeout=0.1))[0]
    never.set()
    assert await asked == 200


async def test_what_the_app_fails_with_is_not_told_to_the_server() -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        raise ValueError(scope["path"])

    assert await status(Gate(failing, None), scope()) == 500
