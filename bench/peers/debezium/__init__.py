"""*debezium*: Debezium's JDBC sink connector on a standalone worker of Kafka Connect."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from string import Template
from urllib.parse import unquote, urlsplit

import orjson

from bench.peers.frame import HOME, Encoding, Peer, Where, run
from consumer import reference
from producer.simulation import Delivery
from runtime.embedded.apache_kafka import LOGGING
from runtime.embedded.kafka_jars import java_command
from runtime.embedded.ports import free_port

_HERE = HOME / "debezium"
_WORKER, _CONNECTOR = _HERE / "worker.xml", _HERE / "connector.xml"
_CONFIGURATION = ("worker.properties", "connector.properties")

# What Kafka's own scripts start a standalone worker with (connect-standalone.sh, kafka-run-class.sh), and one more: the
# driver tells the database this time zone, and the connector's UNNEST takes times without theirs.
_JVM = [
    "-Xms256M", "-Xmx2G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true",
    "-Duser.timezone=UTC",
]  # fmt: skip

# Each the better of two that were tried on two busy cores: with two tasks 4,164 events/s instead of 5,676 (they share
# the cores with PostgreSQL and Kafka), with rewritten inserts instead of UNNEST 5,705 instead of 6,271.
_TASKS = 1
_UNNEST = True


def _encode(delivery: Delivery, of: str) -> Delivery:
    """The fields of connector.properties' schema: the time in UTC, as Debezium's sources write it, and data as text."""
    event = delivery.meant.event
    assert event is not None
    fields = {
        "order_id": event["subject"],
        "version": event["sequence"],
        "status": of,
        "occurred_at": reference.instant(event["time"]).astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "event_type": event["type"],
        "event_id": event["id"],
        "data": (delivery.value or b"null").decode(),
    }
    return replace(delivery, value=orjson.dumps(fields), headers=[])


def _prepare(home: Path) -> None:
    _copy(_WORKER, home, home / "worker")
    _copy(_CONNECTOR, home, home / "plugins" / "debezium-connector-jdbc")


def _copy(pom: Path, home: Path, jars: Path) -> None:
    ours = shutil.copy(pom, home)  # Maven may write beside it
    maven = ["mvn", "--quiet", "--batch-mode", "--strict-checksums", "--file", str(ours)]
    run([*maven, "dependency:copy-dependencies", f"-DoutputDirectory={jars}"])


def _command(home: Path, where: Where) -> Sequence[str]:
    database = urlsplit(where.database_url)
    values = {
        "bootstrap": where.bootstrap,
        "topic": where.topic,
        "group": where.group,
        "work": where.work,
        "plugins": home / "plugins",
        "port": free_port(),
        "tasks": _TASKS,
        "unnest": str(_UNNEST).lower(),
        "url": f"jdbc:postgresql://{database.hostname}:{database.port}{database.path}?reWriteBatchedInserts=true",
        "user": unquote(database.username or ""),
        "password": unquote(database.password or ""),
    }
    files = [where.work / name for name in _CONFIGURATION]
    for file in files:
        file.write_text(Template((_HERE / file.name).read_text("utf-8")).substitute(values), "utf-8")
    logging = f"-Dlog4j2.configurationFile={LOGGING}"
    main = "org.apache.kafka.connect.cli.ConnectStandalone"
    return [java_command(), *_JVM, logging, "-cp", f"{home / 'worker'}/*", main, *map(str, files)]


PEER = Peer(
    name="debezium",
    version="Debezium JDBC sink 3.6.0.Final, Kafka Connect 4.3.1",
    keeps="one row per order, as the last record of its key says; at least once",
    lacks="order by version (no version check: a late or repeated older event overwrites a newer one); read models, "
    "history, gaps between versions, rebuilds; positions are Kafka's, not in the rows' transaction",
    follows="Debezium's documentation, 'Debezium connector for JDBC', 'Connector properties': batch.size with "
    "max.poll.records not below it, use.reduction.buffer, dialect.postgres.unnest.insert.enabled",
    encoding=Encoding("connect", _encode),
    pins=(_WORKER, _CONNECTOR),
    prepare=_prepare,
    command=_command,
)
