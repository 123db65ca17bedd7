"""*pekko*: Apache Pekko Projection, from Kafka to PostgreSQL by JDBC, exactly once, in groups."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.peers.events import CLOUDEVENTS
from bench.peers.frame import HOME, Peer, Where, run
from runtime.embedded.kafka_jars import java_command

_HERE = HOME / "pekko"
_POM, _SOURCES = _HERE / "pom.xml", _HERE / "src"


def _prepare(home: Path) -> None:
    shutil.copy(_POM, home)  # Maven writes beside it
    shutil.copytree(_SOURCES, home / "src")
    run(["mvn", "--quiet", "--batch-mode", "--strict-checksums", "package"], home)


def _command(home: Path, where: Where) -> Sequence[str]:
    target = home / "target"
    logging = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    # The heap that Kafka's script gives the other peer under the JVM.
    return [java_command(), "-Xms256M", "-Xmx2G", logging, "-cp", f"{target}/orders.jar:{target}/lib/*", "bench.Orders"]


PEER = Peer(
    name="pekko",
    version="Pekko Projection JDBC 1.0.0, Pekko Connectors Kafka 1.2.0, Pekko 1.2.1",
    keeps="one row per order; an older version never replaces a newer one; its positions in the rows' transaction",
    lacks="read models, history, gaps between versions, broken records apart, rebuilds; its own documentation: exactly "
    "once can't be guaranteed when partitions move",
    follows="Pekko Projection's documentation, 'Offset in a relational DB with JDBC', 'groupedWithin' and 'Blocking "
    "JDBC Dispatcher'; the driver's reWriteBatchedInserts",
    encoding=CLOUDEVENTS,
    pins=(_POM, *sorted(_SOURCES.iterdir())),
    prepare=_prepare,
    command=_command,
)
