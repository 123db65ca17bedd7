"""Whatever is sent to the HTTP service: it is refused, nothing changes, nothing of it is in the log, and it goes on."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest_asyncio

from testkit.deadline import eventually
from tests.support.commands import place
from tests.support.hostile import ALSO, CANARY, WIRE, request, to_be_refused
from tests.support.http_service import TOKEN, HttpService, http_service, rest

DEBUG = {"PROJECTOR_LOG_LEVEL": "debug", "PROJECTOR_LOG_FORMAT": "json"}
TABLES = """
SELECT format('SELECT %L, count(*) FROM %I.%I', c.oid::regclass, n.nspname, c.relname)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname IN ('projector', 'write_model', 'read_model') AND c.relkind IN ('r', 'p', 'v')
"""


@pytest_asyncio.fixture
async def service(database_url: str) -> AsyncIterator[HttpService]:
    async with http_service(database_url, **DEBUG) as found:
        yield found


async def rows(database_url: str) -> dict[str, int]:
    """How many rows each table and view has."""
    connection = await asyncpg.connect(database_url)
    try:
        counts = " UNION ALL ".join(row[0] for row in await connection.fetch(TABLES))
        return {row[0]: row[1] for row in await connection.fetch(counts)}
    finally:
        await connection.close()


async def placed(service: HttpService) -> str:
    answer = await service.client.post("/orders", json=place())
    assert answer.status_code == 202, answer.text
    return str(answer.json()["order_id"])


def status(answer: bytes) -> int | None:
    """None: the connection was ended without an answer."""
    return int(answer.split(b" ", 2)[1]) if answer else None


def body(answer: bytes) -> Any:
    return json.loads(answer.partition(b"\r\n\r\n")[2])


async def expect_well(service: HttpService) -> None:
    """It answers, and has said nothing that it should not."""
    assert service.member.code is None
    assert (await service.client.get("/health/ready")).status_code == 200
    said = service.member.said()
    assert "Traceback" not in said
    assert "request_failed" not in said
    assert CANARY.decode() not in said
    assert TOKEN not in said


async def test_what_makes_no_sense_is_refused_and_changes_nothing(service: HttpService, database_url: str) -> None:
    order = (await placed(service)).encode()
    before = await rows(database_url)
    for one in to_be_refused(order, TOKEN.encode()):
        answer = await service.raw(one)
        assert status(answer) in range(400, 500), (one[:200], answer[:500])
        assert b"content-type: application/problem+json" in answer.partition(b"\r\n\r\n")[0], (one[:200], answer[:500])
        assert body(answer)["status"] == status(answer)
        assert CANARY not in answer, one[:200]
    for target in ALSO:
        answer = await service.raw(request(b"GET", target, token=TOKEN.encode()))
        assert status(answer) == 200, answer
        assert (body(answer).get("orders") or []) + (body(answer).get("days") or []) == []
    assert await rows(database_url) == before
    await expect_well(service)


async def test_what_is_no_http_is_refused(service: HttpService, database_url: str) -> None:
    before = await rows(database_url)
    for one in WIRE:
        answer = await service.raw(one)
        assert status(answer) in {None, 501, *range(400, 500)}, (one[:100], answer[:500])
        assert CANARY not in answer
    assert await rows(database_url) == before
    await expect_well(service)


async def test_the_head_of_a_request_may_be_too_large(service: HttpService) -> None:
    answer = await service.raw(b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 200_000 + b"\r\n\r\n")
    assert status(answer) in {None, 431}
    for size in (20_000, 70_000):
        answer = await service.raw(request(b"GET", b"/orders/" + b"x" * size, token=TOKEN.encode()))
        assert status(answer) in {414, 431}


# Those who take their time


async def slowly(service: HttpService, head: bytes, drop: bytes) -> bytes:
    """Send this, then a byte or so now and then for as long as the service takes it; what it answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    answered = asyncio.ensure_future(rest(reader))
    writer.write(head)

    def dripped() -> bool:
        if not answered.done():
            writer.write(drop)
        return answered.done()

    try:
        await eventually(dripped, 30, 0.3)
        return answered.result()
    finally:
        answered.cancel()
        writer.close()


async def test_nobody_holds_a_connection_by_being_slow(service: HttpService) -> None:
    token = b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
    posted = b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
    chunked = b"POST /orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    slow = {
        "silence": (b"", b""),
        "head": (b"GET /orders HTTP/1.1\r\nHost: x\r\n", b"A"),
        "line": (b"GE", b"T"),
        "second head": (b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n", b"G"),
        "body": (posted + token + b"\r\n", b" "),
        "chunks": (chunked + token + b"\r\n", b"1\r\n \r\n"),
        "body of a stranger": (posted + b"\r\n", b" "),
        "body of a read": (b"GET /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n", b" "),
    }
    answers = await asyncio.gather(*(slowly(service, head, drop) for head, drop in slow.values()))
    found = dict(zip(slow, map(status, answers), strict=True))
    assert found == {
        **dict.fromkeys(("silence", "head", "line", "body", "chunks"), 408),
        "second head": 200,
        "body of a stranger": 401,
        "body of a read": 200,
    }
    await expect_well(service)


# Those who go away


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection at once, with what is under way lost."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def test_clients_that_go_away_leave_nothing_behind(service: HttpService, database_url: str) -> None:
    order = (await placed(service)).encode()
    before = await rows(database_url)
    token = TOKEN.encode()
    halves = [
        request(b"POST", b"/orders", body=json.dumps(place()).encode(), token=token)[:-20],
        request(b"GET", b"/orders", token=token)[:-2],
        b"POST /orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nAuthorization: Bearer "
        + token
        + b"\r\n\r\n5",
    ]
    wholes = [
        request(b"GET", b"/orders", token=token),
        request(b"GET", b"/orders/%s/stream" % order, token=token),
        request(b"GET", b"/orders/%s?min_version=9&wait_ms=10000" % order, token=token),
    ]
    for one in [*halves, *wholes] * 20:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(one)
        await writer.drain()
        if one is wholes[1]:
            assert await reader.readuntil(b"\n\n")  # its answer is under way
        reset(writer)
    assert await rows(database_url) == before
    await expect_well(service)


async def test_the_places_of_those_who_went_away_are_free(service: HttpService) -> None:
    order = (await placed(service)).encode()
    follow = request(b"GET", b"/orders/%s/stream" % order, token=TOKEN.encode())

    async def followed() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(follow)
        assert b" 200 " in await reader.readline()
        return reader, writer

    followers = [await followed() for _ in range(400)]
    refused = await service.client.get(f"/orders/{order.decode()}/stream")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert (await service.client.get(f"/orders/{order.decode()}")).status_code == 200  # others have places of their own
    for _, writer in followers:
        reset(writer)

    async def again() -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(follow)
        first = await reader.readline()
        writer.close()
        return b" 200 " in first

    await eventually(again, 20)
    await expect_well(service)
