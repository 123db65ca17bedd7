"""A PostgreSQL primary with a synchronous standby beside it: what it has committed, the standby has too."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from runtime.embedded.postgres import EmbeddedPostgres
from runtime.embedded.postgres_programs import run
from testkit.deadline import eventually

_FLUSH = {"fsync": "off", "full_page_writes": "off"}  # the machine doesn't crash; the servers may


class Pair:
    """Two servers with the same data."""

    def __init__(self, primary: EmbeddedPostgres, standby: EmbeddedPostgres) -> None:
        self.primary = primary
        self.standby = standby

    async def promote(self) -> None:
        """Make the standby the primary. The old one has to be fenced first; here that is killing it."""
        await _execute(self.standby.url(), "SELECT pg_promote(true, 60)")
        # It would wait for a standby of its own, and has none.
        await _execute(self.standby.url(), "ALTER SYSTEM RESET synchronous_standby_names")
        await _execute(self.standby.url(), "SELECT pg_reload_conf()")


@contextmanager
def pair() -> Iterator[Pair]:
    """Both running, the standby as a copy of the primary that follows it. `make_synchronous` has the primary wait."""
    with tempfile.TemporaryDirectory(prefix="projector-pair-") as directory:
        homes = Path(directory, "primary"), Path(directory, "standby")
        primary, standby = EmbeddedPostgres(settings=_FLUSH), EmbeddedPostgres(settings=_FLUSH)
        try:
            primary.start(homes[0])
            _copy(primary.url(), *homes)
            standby.start(homes[1])
            yield Pair(primary, standby)
        finally:
            standby.stop()
            primary.stop()


async def make_synchronous(both: Pair) -> None:
    """From here on the primary tells nobody of a commit before the standby has it."""
    connection = await asyncpg.connect(both.primary.url())
    try:
        await connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        await connection.execute("SELECT pg_reload_conf()")
        await eventually(lambda: connection.fetchval("SELECT true FROM pg_stat_replication WHERE sync_state = 'sync'"))
    finally:
        await connection.close()


def address(url: str) -> str:
    """Where a server listens, `host:port`."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}"


def _copy(url: str, primary: Path, standby: Path) -> None:
    """The standby's directory, with all that it needs to follow the primary."""
    standby.mkdir(mode=0o700)
    shutil.copy2(primary / "password", standby / "password")
    owner = (primary / "cluster").stat()
    for path in (standby, standby / "password"):
        shutil.chown(path, owner.st_uid, owner.st_gid)
    target = str(standby / "cluster")
    run("pg_basebackup", ["-d", url, "-D", target, "-R", "-X", "stream", "-c", "fast"], directory=primary)


async def _execute(url: str, command: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(command)
    finally:
        await connection.close()
