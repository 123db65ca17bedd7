"""A lean HTTP/1.1 client for many requests: one connection, JSON in and out, some 100 µs of CPU each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson


class Answer(NamedTuple):
    """Status, headers by lower-case name, and the body as JSON (None if there is none)."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Client:
    """Keeps its connection, and makes a new one if the server has closed it."""

    def __init__(self, host: str, port: int) -> None:
        self._where = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, target: str, headers: Mapping[str, str] | None = None, body: Any = None) -> Answer:
        """Send a request and read its answer. Raises OSError or EOFError if the server goes away."""
        data = b"" if body is None else orjson.dumps(body)
        lines = [f"{method} {target} HTTP/1.1", "Host: test", f"Content-Length: {len(data)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        reader, writer = await self._connected()
        try:
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            got = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            content = await reader.readexactly(int(got.get("content-length", "0")))
        except BaseException:
            self.close()
            raise
        if got.get("connection") == "close":
            self.close()
        return Answer(int(head[0].split(" ")[1]), got, orjson.loads(content) if content else None)

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._where)
        return self._streams

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
