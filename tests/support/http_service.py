"""`projector api` as a process for tests, on PostgreSQL alone: local-first, so that readers see what was written."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx2

from testkit.deadline import eventually
from tests.support.fleet import Member

TOKEN = "a-token-of-some-length"
KEYS = {"PROJECTOR_API_TOKENS": TOKEN, "PROJECTOR_API_SECRET": "s" * 32}


@dataclass(frozen=True)
class HttpService:
    """A running one."""

    member: Member
    port: int
    client: httpx2.AsyncClient

    async def raw(self, *pieces: bytes, tls: ssl.SSLContext | None = None) -> bytes:
        """Send these on a connection of their own, and read until the service ends it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=tls)
        try:
            with suppress(ConnectionError):  # it may have ended the connection before it had all of it
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
            return await rest(reader)
        finally:
            writer.close()


@asynccontextmanager
async def http_service(database_url: str, *options: str, **settings: Any) -> AsyncIterator[HttpService]:
    """One on a free port, with a client that has a token."""
    given = {"DATABASE_URL": database_url, "PROJECTOR_CONSISTENCY": "local-first", **KEYS, **settings}
    member = Member(("-m", "cli", "api", "--port", "0", *options), given)
    try:
        port = await listens(member)
        base = f"http://127.0.0.1:{port}"
        async with httpx2.AsyncClient(base_url=base, headers=bearer(), timeout=30) as client:
            yield HttpService(member, port, client)
    except BaseException:
        print(member.said()[-8000:])  # for pytest to show
        raise
    finally:
        member.close()


async def listens(member: Member) -> int:
    """The port that it has said that it serves on."""

    def said() -> re.Match[str] | None:
        assert member.code is None, member.said()
        return re.search(r'"event":"api_served".*?"port":(\d+)|"port":(\d+).*?"event":"api_served"', member.said())

    found = await eventually(said, 30)
    assert found is not None
    return int(found[1] or found[2])


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def rest(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the connection ends, however it does."""
    got = bytearray()
    with suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(65536):
            got += data
    return bytes(got)
