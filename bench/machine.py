"""What the figures are of: machine, versions, settings, commit."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
import time
from pathlib import Path
from statistics import median

import psutil

from bench.stage import POSTGRES, ROOT, SQL, Stage, connected
from runtime.embedded.apache_kafka import JVM_OPTIONS
from runtime.embedded.kafka_jars import java_command, kafka_version
from schemas.connection import Connection

_SYNCS = 200
_SHOWN = ["server_version", *POSTGRES, "wal_compression", "max_connections"]


async def described(on: Stage) -> dict[str, str]:
    """By name, in the order in which it is to be read."""
    async with connected(on.settings) as connection:
        settings = await _settings(connection)
    version = settings.pop("server_version")
    return {
        "commit": _commit(),
        "processor": f"{_processor()}, {psutil.cpu_count()} cores, shared by all that is measured",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "PostgreSQL": f"{version}, " + ", ".join(f"{name}={value}" for name, value in settings.items()),
        "Kafka": f"Apache Kafka {kafka_version()}, one node, Java {_java()}, {' '.join(JVM_OPTIONS)}",
        "disk": f"{await asyncio.to_thread(_sync_ms, on.home):.1f} ms to write 8 KB and wait for it (median fdatasync)",
        "load before": f"{psutil.getloadavg()[0]:.2f} (1 minute's average, with the stream's production in it)",
    }


async def _settings(connection: Connection) -> dict[str, str]:
    return {row["name"]: row["value"] for row in await connection.fetch(SQL["server_settings"], _SHOWN)}


def _sync_ms(directory: Path) -> float:
    """What the disk asks of every commit, whoever commits."""
    took = []
    with (directory / "sync").open("wb", buffering=0) as file:
        file.write(bytes(_SYNCS * 8192))
        os.fsync(file.fileno())
        for place in range(_SYNCS):
            began = time.perf_counter()
            os.pwrite(file.fileno(), bytes([place % 256]) * 8192, place * 8192)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return median(took) * 1e3


def _commit() -> str:
    commit = _said("git", "rev-parse", "--short=12", "HEAD")
    # What measures is not what is measured.
    changed = _said("git", "status", "--porcelain", "--", "schemas", "runtime", "consumer", "producer", "cli")
    return f"{commit} with uncommitted changes" if changed else commit


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _java() -> str:
    said = subprocess.run([java_command(), "-version"], capture_output=True, text=True, check=False).stderr
    return said.split('"')[1] if '"' in said else "of unknown version"


def _said(*argv: str) -> str:
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
