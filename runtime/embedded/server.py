"""What the embedded servers have in common: a directory, ports, a process, and how they begin and end."""

from __future__ import annotations

import shutil
import signal
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from runtime.embedded.processes import Ending, ServerProcess
from schemas.errors import Refused, Unavailable

Ports = Mapping[str, int]  # by the name of what listens there


class EmbeddedServer(ABC):
    """One server process. `start` and `stop` may be called twice, in any order; after `kill9()` or `restart()` it is on
    the same data and ports; a directory that nobody gave is temporary and goes with `stop()`."""

    name: ClassVar[str]

    def __init__(self, *, detached: bool, ending: Ending) -> None:
        """`detached` lets the server outlive this process; `ending` is how it is asked to stop."""
        self._detached = detached
        self._ending = ending
        self._home: Path | None = None
        self._temporary = False
        self._ports: Ports = {}
        self.process: ServerProcess | None = None

    def start(self, data_dir: Path | None = None) -> str:
        """Start the server; its address. Without `data_dir`: a temporary one, or the one this object used before."""
        if self.process is None or not self.process.alive():
            home = self._settle(data_dir)
            self._prepare(home)
            try:
                self._launch(home, self._ports or self._free_ports())
            except Unavailable:
                if self._ports:
                    raise
                self._launch(home, self._free_ports())  # somebody took a port between our looking and binding
        return self._address()

    def stop(self) -> None:
        """End the server in good order; a temporary directory goes with it."""
        if self.process is not None:
            self.process.end(self._ending)
            self.process = None
        if self._temporary and self._home is not None:
            self._await_end(self._home)
            shutil.rmtree(self._home)
            self._home, self._temporary, self._ports = None, False, {}

    def restart(self) -> str:
        """End the server in good order and start it on the same data and ports."""
        if self.process is not None:
            self.process.end(self._ending)
        return self.start()

    def kill9(self) -> None:
        """SIGKILL: no leave-taking, no flush."""
        if self.process is not None:
            self.process.end([(signal.SIGKILL, 10.0)])

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()  # __exit__ won't be called, and a temporary directory may be there already
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _port(self, name: str) -> int:
        if not self._ports:
            raise Refused(f"the embedded {self.name} was not started")
        return self._ports[name]

    def _settle(self, data_dir: Path | None) -> Path:
        """Decide on the directory and make it."""
        if data_dir is None and self._home is None:
            data_dir, self._temporary = (
                Path(tempfile.mkdtemp(prefix=f"projector-{self.name.split()[-1].lower()}-")),
                True,
            )
        home = (data_dir or self._home or Path()).resolve()
        if home != self._home:
            self._home, self._ports = home, {}
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return home

    def _prepare(self, home: Path) -> None:  # noqa: B027  nothing, for most
        """What has to be done in the directory before the server can start there."""

    def _await_end(self, home: Path) -> None:  # noqa: B027  nothing, for most
        """Wait until nothing uses the directory any more."""

    @abstractmethod
    def _address(self) -> str: ...

    @abstractmethod
    def _free_ports(self) -> Ports: ...

    @abstractmethod
    def _launch(self, home: Path, ports: Ports) -> None:
        """Start the process on these ports, wait until it answers, and set `process` and `_ports`. Raises
        Unavailable."""
