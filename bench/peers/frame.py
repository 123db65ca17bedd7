"""What a peer is, where it lives, and what it is told.

A peer's program gets its orders by the environment (`Where.environment`), reads one topic with a fresh consumer group
from its beginning, and keeps `public.orders` current: a row per order, its newest version. It runs until SIGTERM.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.stage import bare
from producer.simulation import Delivery
from schemas.errors import Unavailable

HOME = Path(__file__).resolve().parent
CACHE_VARIABLE = "PROJECTOR_BENCH_CACHE"

_READY = ".ready"
_TO_INSTALL = 900.0  # seconds


@dataclass(frozen=True)
class Encoding:
    """How the events lie in a peer's topic.

    `encode` takes a delivery of the simulation and the order's status after it, and gives the record to produce: key,
    value and headers; its `meant` stays.
    """

    name: str
    encode: Callable[[Delivery, str], Delivery]


@dataclass(frozen=True)
class Where:
    """What a peer's program is told. `work` is an empty directory of its own, gone after the run."""

    bootstrap: str
    database_url: str
    topic: str
    group: str
    work: Path

    def environment(self) -> dict[str, str]:
        """As the program gets it."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "DATABASE_URL": self.database_url,
            "PEER_TOPIC": self.topic,
            "PEER_GROUP": self.group,
        }


@dataclass(frozen=True)
class Peer:
    """One peer.

    `version`, `keeps`, `lacks` and `follows` are a line each, for people: the versions that decide its figure, what
    it guarantees, what it doesn't, and which of its own documentation its configuration follows. `pins`: the files
    that decide what is installed. `prepare` fills an empty directory with it, outside every clock. `command` gives
    the program to run, from that directory, and may write files into `Where.work`. `tables` is a file of SQL that makes
    `public.orders` and whatever else it needs; the columns that are looked at are those of `tables.sql`.
    """

    name: str
    version: str
    keeps: str
    lacks: str
    follows: str
    encoding: Encoding
    pins: Sequence[Path]
    prepare: Callable[[Path], None]
    command: Callable[[Path, Where], Sequence[str]]
    tables: Path = HOME / "tables.sql"

    @property
    def part(self) -> str:
        """Its name as a part of the benchmark."""
        return f"peer-{self.name}"


def prepared(peer: Peer) -> Path:
    """The directory with what the peer needs, made now if it isn't there. Safe from many processes at once.

    Raises Unavailable if it can't be made.
    """
    root = os.environ.get(CACHE_VARIABLE)
    cache = Path(root) if root else Path.home() / ".cache" / "projector-bench"
    home = cache.resolve() / f"{peer.name}-{pinned(peer.pins)}"
    with _alone(home):
        if not (home / _READY).exists():
            shutil.rmtree(home, ignore_errors=True)  # of a preparation that was cut off
            home.mkdir(parents=True)
            peer.prepare(home)
            (home / _READY).touch()
    return home


def pinned(pins: Sequence[Path]) -> str:
    """Names what is installed: other pins or another Python, another directory."""
    digest = hashlib.sha256(sys.version.encode())
    for file in pins:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def virtual_environment(requirements: Path) -> Callable[[Path], None]:
    """A preparation: a virtual environment of this Python with what `requirements` pins by hash."""

    def prepare(home: Path) -> None:
        run([sys.executable, "-m", "venv", str(home)])
        pip = [str(python(home)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, "--require-hashes", "--only-binary", ":all:", "--requirement", str(requirements)])

    return prepare


def python(home: Path) -> Path:
    """The interpreter of such an environment."""
    return home / "bin" / "python"


def run(argv: Sequence[str], directory: Path | None = None) -> None:
    """A step of a preparation, with a limit in time. Raises Unavailable with the end of what it said."""
    try:
        done = subprocess.run(
            argv,
            cwd=directory,
            env=bare(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TO_INSTALL,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise Unavailable(f"{argv[0]} took more than {_TO_INSTALL:.0f} s") from late
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(argv)} failed:\n{done.stdout.decode(errors='replace')[-2000:]}")


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One process at a time; the lock goes with its holder, however that ends."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{home}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
