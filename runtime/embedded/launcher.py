"""Becomes the server it is told to be. Run as a script by `processes`, with the standard library
alone.

A small program between parent and server, where `preexec_fn` is the usual way: that one runs Python
between fork and exec, which can deadlock in a program with threads. Here the parent forks and execs
at once, and what has to be done in the child is done in a process of its own with one thread.

Its one argument is a JSON object: see `processes.Launch`. A detached server's pid is written to
stdout.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any

PR_SET_PDEATHSIG = 1


def main(spec: dict[str, Any]) -> None:
    """Takes on the identity, the log and the parent's fate that `spec` asks for, then becomes the
    program."""
    if spec["detached"]:
        _leave_the_parent()
    log = os.open(spec["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if spec["account"] is not None:
        uid, gid = spec["account"]
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    os.umask(0o077)
    os.chdir(spec["directory"])
    if not spec["detached"]:
        _die_with(spec["parent"], spec["death_signal"])  # after setuid, which clears the death signal
    os.execv(spec["argv"][0], spec["argv"])  # noqa: S606  a shell is not wanted


def _leave_the_parent() -> None:
    """Continues in a child nobody waits for; init inherits it, so it never becomes its starter's
    zombie."""
    pid = os.fork()
    if pid:
        os.write(1, str(pid).encode())
        os._exit(0)


def _die_with(parent: int, death_signal: int) -> None:
    """Asks Linux for `death_signal` when the parent dies. Elsewhere there's no such thing: stop()
    has to do."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:  # it died before we asked
        sys.exit("the parent is gone already")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
