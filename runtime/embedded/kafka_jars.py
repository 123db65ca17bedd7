"""Apache Kafka's jars, fetched by Maven once a machine, and the Java to run them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import Refused, Unavailable

POM = Path(__file__).with_name("pom.xml")
CACHE_VARIABLE = "PROJECTOR_CACHE_DIR"
JAVA_NEEDED = 17
MAVEN_SECONDS = 600


def kafka_version() -> str:
    """The version of Apache Kafka in pom.xml."""
    found = re.search(r"<kafka\.version>(.+?)</kafka\.version>", POM.read_text())
    assert found is not None, "pom.xml names no kafka.version"
    return found[1]


def why_not_runnable() -> str | None:
    """What this machine lacks to run Apache Kafka; None when it lacks nothing. Doesn't ask the
    network."""
    java = _java()
    if java is None:
        return f"no Java (needs {JAVA_NEEDED} or later)"
    version = _java_version(java)
    if version < JAVA_NEEDED:
        return f"{java} is Java {version}, and Kafka {kafka_version()} needs {JAVA_NEEDED}"
    if not _destination(POM, f"apache-kafka-{kafka_version()}").exists() and shutil.which("mvn") is None:
        return "no Maven (mvn) to fetch its jars"
    return None


def java_command() -> str:
    """The absolute path of a Java that will do."""
    reason = why_not_runnable()
    java = _java()
    if reason is not None or java is None:
        raise Refused(f"can't run Apache Kafka: {reason}")
    return java


def class_path(pom: Path = POM, name: str = "") -> str:
    """The jars of a pom (Kafka's, if none is named) as a class path, fetched now if this is the first
    time. Safe from many processes at once."""
    destination = _destination(pom, name or f"apache-kafka-{kafka_version()}")
    with _alone(destination):
        if not destination.exists():
            _fetch(pom, destination)
    return f"{destination}/*"


def _destination(pom: Path, name: str) -> Path:
    """Named by the pom's content too, so that a directory once there never has to change."""
    root = os.environ.get(CACHE_VARIABLE)
    cache = Path(root) if root else Path.home() / ".cache" / "projector"
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()[:8]
    return cache.resolve() / f"{name}-{digest}"


def _fetch(pom: Path, destination: Path) -> None:
    """All or nothing: into a directory beside, then renamed."""
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".fetching-") as work:
        jars = Path(work) / "jars"
        copy = shutil.copy(pom, work)  # Maven may write beside its pom; ours may be read-only
        maven = ["mvn", "--quiet", "--batch-mode", "--strict-checksums", "--file", str(copy)]
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
        try:
            done = subprocess.run(
                [*maven, *goal],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=MAVEN_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            raise Unavailable(f"Maven didn't fetch {destination.name} in {MAVEN_SECONDS} s") from late
        if done.returncode != 0:
            output = done.stdout.decode(errors="replace")
            raise Unavailable(f"Maven can't fetch {destination.name}:\n{output[-2000:]}")
        jars.rename(destination)


@contextmanager
def _alone(destination: Path) -> Iterator[None]:
    """One process at a time; the lock goes with its holder, however that ends."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{destination}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _java() -> str | None:
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")


def _java_version(java: str) -> int:
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    return int(found[1]) if found else 0
