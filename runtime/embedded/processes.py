"""Server processes: how they start, how they are known again, how they end.

A process is known by pid and time of birth together, because pids are reused: a record from
yesterday may name a stranger's process today. Signals go through a pidfd where Linux has one, so
that not even the instant between looking and signalling can hit the wrong process.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from schemas.errors import Unavailable

POLL_SECONDS = 0.02
LAUNCHER = Path(__file__).with_name("launcher.py")

Ending = Sequence[tuple[signal.Signals, float]]
"""What to send, and how many seconds to wait for it to work before the next."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which process: the pid, and when it was born (opaque; compared for equality alone)."""

    pid: int
    born: str


@dataclass(frozen=True, slots=True)
class Account:
    """The user a server runs as when we are root and it refuses to be."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start. `argv[0]` is an absolute path; the output is appended to `log`."""

    argv: Sequence[str]
    log: Path
    directory: Path
    account: Account | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    detached: bool = False
    death_signal: signal.Signals = signal.SIGKILL


@dataclass(slots=True)
class ServerProcess:
    """A server this package started, in this process (`child`) or in an earlier one."""

    identity: Identity
    child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The server's own pid, not its launcher's."""
        return self.identity.pid

    def alive(self) -> bool:
        """Whether this very process runs; a zombie doesn't."""
        if self.child is not None:
            return self.child.poll() is None
        return identify(self.pid) == self.identity

    def send(self, what: signal.Signals) -> None:
        """Signals the process if it is still the one we know."""
        if self.child is not None:
            self.child.send_signal(what)
        elif platform.system() == "Linux":
            _send_by_handle(self.identity, what)
        elif self.alive():
            os.kill(self.pid, what)

    def end(self, ending: Ending) -> None:
        """Sends each signal in turn until the process is gone."""
        for what, seconds in ending:
            self.send(what)
            if self.gone_within(seconds):
                return
        raise Unavailable(f"process {self.pid} does not end")

    def gone_within(self, seconds: float) -> bool:
        """Waits for the end of the process; False when it still runs at the deadline."""
        deadline = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True


def spawn(launch: Launch) -> ServerProcess:
    """Starts a server in a session of its own (Ctrl-C at the terminal is not for it)."""
    return _spawner(os.getpid()).call(lambda: _spawn(launch))


def identify(pid: int) -> Identity | None:
    """Who has this pid now; None when nobody living has."""
    if platform.system() == "Linux":
        return _identify_by_proc(pid)
    return _identify_by_ps(pid)


def await_ready(server: ServerProcess, ready: Callable[[], bool], seconds: float, log: Path) -> None:
    """Returns when `ready`. When the server dies or the time is up: ends it, and raises with its
    last words."""
    deadline = time.monotonic() + seconds
    while not ready():
        if not server.alive() or time.monotonic() > deadline:
            fate = f"not ready after {seconds:.0f} s" if server.alive() else "died at the start"
            server.end([(signal.SIGKILL, 10.0)])
            raise Unavailable(f"{log.stem}: {fate}; the end of {log}:\n{last_words(log)}")
        time.sleep(POLL_SECONDS)


def last_words(log: Path, size: int = 2000) -> str:
    """The end of a server's log, for an error message."""
    return log.read_text(errors="replace")[-size:] if log.exists() else "(no log)"


def _spawn(launch: Launch) -> ServerProcess:
    spec = {
        "argv": list(launch.argv),
        "log": str(launch.log),
        "directory": str(launch.directory),
        "account": launch.account and (launch.account.uid, launch.account.gid),
        "detached": launch.detached,
        "parent": os.getpid(),
        "death_signal": int(launch.death_signal),
    }
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", str(LAUNCHER), json.dumps(spec)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if launch.detached else subprocess.DEVNULL,
        env=dict(launch.environment),  # not in the argument, which every user may read
        start_new_session=True,
    )
    if launch.detached:
        output, _ = child.communicate()
        born = identify(int(output))
        return ServerProcess(born or Identity(int(output), "died at the start"))
    return ServerProcess(identify(child.pid) or Identity(child.pid, "died at the start"), child)


def _send_by_handle(identity: Identity, what: signal.Signals) -> None:
    try:
        handle = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return
    try:
        if identify(identity.pid) == identity:
            signal.pidfd_send_signal(handle, what)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def _identify_by_proc(pid: int) -> Identity | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command, in parentheses, may hold anything; proc(5) counts the state as field 3 and the
    # birth as 22.
    fields = stat.rpartition(")")[2].split()
    state, ticks_since_boot = fields[0], fields[19]
    if state in "ZX":
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return Identity(pid, f"{boot}:{ticks_since_boot}")


def _identify_by_ps(pid: int) -> Identity | None:
    found = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, born = found.stdout.strip().partition(" ")
    return None if not born or state.startswith("Z") else Identity(pid, born.strip())


class _Spawner(threading.Thread):
    """The one thread that forks. Linux counts the death of the forking *thread* as the parent's
    death: a server started from a worker thread would be killed when that thread's pool shuts down.
    This one lives to the end."""

    def __init__(self) -> None:
        super().__init__(name="embedded-spawner", daemon=True)
        self._work: queue.SimpleQueue[tuple[Callable[[], ServerProcess], Future[ServerProcess]]]
        self._work = queue.SimpleQueue()
        self.start()

    def call(self, start: Callable[[], ServerProcess]) -> ServerProcess:
        outcome: Future[ServerProcess] = Future()
        self._work.put((start, outcome))
        return outcome.result()

    def run(self) -> None:
        while True:
            start, outcome = self._work.get()
            try:
                outcome.set_result(start())
            except OSError as failure:
                outcome.set_exception(failure)


@functools.cache
def _spawner(_pid: int) -> _Spawner:
    """One a process: a forked child has no threads, so the pid is the key."""
    return _Spawner()
