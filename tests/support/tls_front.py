"""TLS in front of a PostgreSQL that was built without it, as the embedded one is: the server's half of the start."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from tests.support.certificates import Certificate

_SSL_REQUEST = bytes.fromhex("00000008 04d2162f")
_CHUNK = 65536


class TlsFront:
    """Passes on what comes over TLS, to the server behind it; nothing comes in the clear. `certificate` is what it
    shows to whoever connects from now on; None: it says that it doesn't do TLS."""

    def __init__(self, behind: str) -> None:
        """`behind` is a URL of the server."""
        self._behind = urlsplit(behind)
        self._open: set[asyncio.Task[None]] = set()
        self.certificate: Certificate | None = None
        self.port = 0

    def url(self, database: str, host: str, query: str) -> str:
        """The URL of a database on the server, by way of this."""
        login, _, _ = self._behind.netloc.rpartition("@")
        return self._behind._replace(netloc=f"{login}@{host}:{self.port}", path=f"/{database}", query=query).geturl()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            # A client that distrusts us ends the handshake, and one that is done ends the connection.
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._pass_on(reader, writer)
        finally:
            self._open.discard(task)
            writer.close()

    async def drop_all(self) -> None:
        """End every connection."""
        for task in (passing := list(self._open)):
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(8) != _SSL_REQUEST:
            return
        writer.write(b"N" if self.certificate is None else b"S")
        await writer.drain()
        if self.certificate is None:
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate.chain, self.certificate.key)
        await writer.start_tls(context)
        there, back = await asyncio.open_connection(self._behind.hostname, self._behind.port)
        try:
            pumps = [asyncio.ensure_future(_pump(reader, back)), asyncio.ensure_future(_pump(there, writer))]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            back.close()


@asynccontextmanager
async def tls_front(behind: str) -> AsyncIterator[TlsFront]:
    """One that listens on 127.0.0.1 as long as the context lasts."""
    front = TlsFront(behind)
    async with await asyncio.start_server(front.serve, "127.0.0.1", 0) as server:
        front.port = server.sockets[0].getsockname()[1]
        try:
            yield front
        finally:
            await front.drop_all()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
