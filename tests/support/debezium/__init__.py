"""The real Debezium on a standalone worker of Kafka Connect, for tests: its outbox event router beside our relay."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from urllib.parse import unquote, urlsplit

from runtime.embedded.apache_kafka import LOGGING
from runtime.embedded.kafka_jars import class_path, java_command
from runtime.embedded.ports import free_port

_HERE = Path(__file__).parent
_CONNECTOR = _HERE.parents[2] / "examples" / "debezium" / "outbox.properties"
_MAIN = "org.apache.kafka.connect.cli.ConnectStandalone"


@contextmanager
def debezium(bootstrap: str, database_url: str, topic: str, work: Path) -> Iterator[Path]:
    """Debezium at work on a database's outbox, until the block ends; yields the path of its log.

    The server needs wal_level=logical. The first time on a machine Maven fetches some 100 MB of jars.
    """
    database = urlsplit(database_url)
    values = {
        "bootstrap": bootstrap,
        "topic": topic,
        "work": str(work),
        "host": database.hostname,
        "port": str(database.port),
        "user": unquote(database.username or ""),
        "password": unquote(database.password or ""),
        "database": database.path.removeprefix("/"),
    }
    files = []
    for file, more in ((_HERE / "worker.properties", {"port": str(free_port())}), (_CONNECTOR, {})):
        filled = Template(file.read_text("utf-8")).substitute({**values, **more})
        files.append(work / file.name)
        files[-1].write_text(filled, "utf-8")
    jars = class_path(_HERE / "pom.xml", "debezium")
    jvm = ["-Xms64M", "-Xmx512M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    logging = f"-Dlog4j2.configurationFile={LOGGING}"
    log = work / "debezium.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [java_command(), *jvm, logging, "-cp", jars, _MAIN, *map(str, files)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=work,
            env={**os.environ, "TZ": "UTC"},
        )
        try:
            yield log
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
