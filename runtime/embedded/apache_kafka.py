"""A real Apache Kafka: one node in KRaft mode, broker and controller, under the JVM of this
machine.

What lies in a data directory: `log/` (Kafka's own), `server.properties`, `kafka.log`.
"""

from __future__ import annotations

import base64
import signal
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from runtime.embedded import kafka_jars
from runtime.embedded.ports import LOOPBACK, free_port, speaks_kafka
from runtime.embedded.processes import (
    Ending,
    Launch,
    await_ready,
    last_words,
    spawn,
)
from runtime.embedded.server import EmbeddedServer, Ports
from schemas.errors import Unavailable

NODE = 1
MAIN_LISTENER = "PLAINTEXT"
CONTROLLER_LISTENER = "CONTROLLER"
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
START_SECONDS = 90.0
ENDING: Ending = [(signal.SIGTERM, 20.0), (signal.SIGKILL, 10.0)]
STARTED = "Kafka Server started"
LOGGING = Path(__file__).with_name("log4j2.properties")

# The serial collector and the first compiler alone: half the time to start, for a broker that lives
# for minutes.
JVM_OPTIONS = [
    "-Xms128m",
    "-Xmx768m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
]

PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": str(NODE),
    "controller.listener.names": CONTROLLER_LISTENER,
    "inter.broker.listener.name": MAIN_LISTENER,
    "auto.create.topics.enable": "false",
    "message.max.bytes": str(MAX_MESSAGE_BYTES),
    "replica.fetch.max.bytes": str(MAX_MESSAGE_BYTES),
    "log.retention.ms": "-1",
    # One node, so one replica of everything.
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "5",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "5",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # Quick to form a group, to notice a dead member, and to take back a broker that was killed.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # 128 MB by default, held from the start.
    "log.cleaner.dedupe.buffer.size": str(8 * 1024 * 1024),
}


def apache_kafka_available() -> str | None:
    """Why Apache Kafka can't be run here (no Java 17, no Maven); None when it can."""
    return kafka_jars.why_not_runnable()


class ApacheKafka(EmbeddedServer):
    """One broker. The first start on a machine fetches the jars."""

    name = "Apache Kafka"

    def __init__(
        self,
        *,
        listeners: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        format_options: Sequence[str] = (),
        detached: bool = False,
    ) -> None:
        """`listeners` beside the plain one: name → security protocol, each on a port of its own
        (see `bootstrap`). `properties` override server.properties'. `format_options` go to
        `kafka-storage format` (--add-scram …). `detached` lets the broker outlive this process."""
        super().__init__(detached=detached, ending=ENDING)
        self._protocols = {MAIN_LISTENER: "PLAINTEXT", **(listeners or {})}
        self._properties = dict(properties or {})
        self._format_options = list(format_options)

    def bootstrap(self, listener: str = MAIN_LISTENER) -> str:
        """Where clients of this listener connect."""
        return f"{LOOPBACK}:{self._port(listener)}"

    def _address(self) -> str:
        return self.bootstrap()

    def _free_ports(self) -> Ports:
        return {listener: free_port() for listener in (*self._protocols, CONTROLLER_LISTENER)}

    def _launch(self, home: Path, ports: Ports) -> None:
        configuration = home / "server.properties"
        configuration.write_text(self._configuration(home, ports))
        configuration.chmod(0o600)  # it may hold passwords
        java = [kafka_jars.java_command(), "-cp", kafka_jars.class_path()]
        self._format(home, java, configuration)
        server_log = home / "kafka.log"
        said_before = server_log.stat().st_size if server_log.exists() else 0
        logging = f"-Dlog4j2.configurationFile={LOGGING}"
        process = spawn(
            Launch(
                argv=[*java, *JVM_OPTIONS, logging, "kafka.Kafka", str(configuration)],
                log=server_log,
                directory=home,
                detached=self._detached,
            )
        )
        await_ready(
            process,
            lambda: _says_started(server_log, said_before) and speaks_kafka(ports[MAIN_LISTENER]),
            START_SECONDS,
            server_log,
        )
        self.process, self._ports = process, ports

    def _configuration(self, home: Path, ports: Ports) -> str:
        protocols = {**self._protocols, CONTROLLER_LISTENER: "PLAINTEXT"}
        clients = {name: f"{name}://{LOOPBACK}:{ports[name]}" for name in self._protocols}
        controller = f"{LOOPBACK}:{ports[CONTROLLER_LISTENER]}"
        values = {
            **PROPERTIES,
            "log.dirs": str(home / "log"),
            "controller.quorum.voters": f"{NODE}@{controller}",
            "listeners": ",".join([*clients.values(), f"{CONTROLLER_LISTENER}://{controller}"]),
            "advertised.listeners": ",".join(clients.values()),
            "listener.security.protocol.map": ",".join(":".join(pair) for pair in protocols.items()),
            **self._properties,
        }
        return "".join(f"{key}={value}\n" for key, value in values.items())

    def _format(self, home: Path, java: list[str], configuration: Path) -> None:
        """Gives an empty log directory its cluster id; one that has an id is left as it is."""
        if (home / "log" / "meta.properties").exists():
            return
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = [*java, *JVM_OPTIONS, "kafka.tools.StorageTool", "format"]
        options = [f"--cluster-id={cluster}", f"--config={configuration}", *self._format_options]
        done = subprocess.run(
            [*tool, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode != 0:
            output = done.stdout.decode(errors="replace")
            raise Unavailable(f"Apache Kafka can't format {home}:\n{output[-2000:]}")


def _says_started(log: Path, said_before: int) -> bool:
    """Whether the log, beyond what an earlier start wrote, says that the broker serves requests."""
    new = log.stat().st_size - said_before if log.exists() else 0
    return STARTED in last_words(log, new)
