"""`stack.json`: which detached servers were started, and where they are. Holds a password: mode
0600."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from runtime.embedded.processes import Ending, Identity, ServerProcess
from schemas.errors import Refused

FILE = "stack.json"

BrokerKind = Literal["tansu", "apache"]


class Endpoints(BaseModel):
    """What to put into `KAFKA_BOOTSTRAP_SERVERS` and `DATABASE_URL`."""

    model_config = ConfigDict(frozen=True)

    kafka_bootstrap_servers: str
    database_url: str


class RecordedServer(BaseModel):
    """One server: who it is, where it is, and how it is ended."""

    model_config = ConfigDict(frozen=True)

    pid: int
    born: str
    address: str
    ending: list[tuple[signal.Signals, float]]

    @classmethod
    def of(cls, server: ServerProcess | None, address: str, ending: Ending) -> RecordedServer:
        """The record of a server just started."""
        assert server is not None, "a server that was started has a process"
        return cls(
            pid=server.identity.pid,
            born=server.identity.born,
            address=address,
            ending=list(ending),
        )

    def process(self) -> ServerProcess:
        """A hold on the process, if it is still that one."""
        return ServerProcess(Identity(self.pid, self.born))


class StackState(BaseModel):
    """The servers of one directory, in the order they were started."""

    broker_kind: BrokerKind
    database: RecordedServer | None = None
    broker: RecordedServer | None = None

    def servers(self) -> list[RecordedServer]:
        """Those that were started."""
        return [server for server in (self.database, self.broker) if server is not None]

    def endpoints(self) -> Endpoints | None:
        """Where the servers are, if both of them run."""
        if self.database is None or self.broker is None:
            return None
        if not all(server.process().alive() for server in self.servers()):
            return None
        return Endpoints(kafka_bootstrap_servers=self.broker.address, database_url=self.database.address)


def read(directory: Path) -> StackState | None:
    """What was recorded; None when nothing was."""
    file = directory / FILE
    if not file.exists():
        return None
    try:
        return StackState.model_validate_json(file.read_bytes())
    except ValidationError as unreadable:
        raise Refused(f"{file} isn't a record of `projector up`; remove it") from unreadable


def write(directory: Path, state: StackState) -> None:
    """Records `state`, whole or not at all."""
    unfinished = directory / f".{FILE}.new"
    unfinished.touch(mode=0o600)
    unfinished.write_text(state.model_dump_json(indent=2))
    os.replace(unfinished, directory / FILE)


def forget(directory: Path) -> None:
    """Removes the record."""
    (directory / FILE).unlink(missing_ok=True)
