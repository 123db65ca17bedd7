"""Valkey for tests: a real server of this machine, which may be killed, stopped and started again."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis

from runtime.embedded.valkey import EmbeddedValkey


class Valkey:
    """One server, on a port that it keeps."""

    def __init__(self, directory: Path, *options: str) -> None:
        self._server = EmbeddedValkey(*options)
        self._directory = directory
        self.url = self._server.url

    async def start(self) -> None:
        """Empty, as after every start."""
        await asyncio.to_thread(self._server.start, self._directory)

    def kill9(self) -> None:
        self._server.stop()

    def freeze(self) -> None:
        """It takes connections, and says nothing."""
        self._server.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._server.signal(signal.SIGCONT)


@asynccontextmanager
async def valkey(*options: str) -> AsyncIterator[Valkey]:
    """A running one."""
    with tempfile.TemporaryDirectory(prefix="projector-valkey-") as directory:
        server = Valkey(Path(directory), *options)
        await server.start()
        try:
            yield server
        finally:
            server.kill9()


@asynccontextmanager
async def at(url: str) -> AsyncIterator[Redis]:
    """A client of its own, for looking and for damage."""
    async with Redis.from_url(url) as client:
        yield client
