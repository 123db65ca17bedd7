"""Where everything is measured: one PostgreSQL and one Apache Kafka of the benchmark's own, on this machine."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM

from consumer.install import install
from runtime import postgres
from runtime.embedded.apache_kafka import ApacheKafka
from runtime.embedded.postgres import EmbeddedPostgres
from runtime.embedded.processes import Launch, ServerProcess, spawn
from runtime.settings import Settings, load
from runtime.sql import Queries, quoted
from schemas.connection import Connection

SQL = Queries("bench", "queries.sql")
ROOT = Path(__file__).resolve().parents[1]
PARTITIONS = 12

# Safe in a power cut; sized so that neither a checkpoint nor the cache's size decides a run of some seconds.
POSTGRES = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_level": "replica",
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
}

# Members that start together are to be in the group's first generation (3 s is Kafka's own default).
KAFKA = {"num.partitions": str(PARTITIONS), "group.initial.rebalance.delay.ms": "2000"}

_TEMPLATE = "bench_template"
_TO_COPY = 1_800.0  # seconds: 12 GB for a ledger of 50 million rows
_ENDING = [(SIGTERM, 15.0), (SIGKILL, 10.0)]


@dataclass(frozen=True)
class Stage:
    """The running services. `home` belongs to PostgreSQL's account and goes away at the end."""

    settings: Settings
    database: EmbeddedPostgres
    kafka: ApacheKafka | None
    home: Path

    @property
    def cluster(self) -> Path:
        """A directory that the database server can write to."""
        return self.home / "postgres"

    def at(self, url: str, topic: str) -> Settings:
        """The default settings, for this database and topic."""
        return _settings(url, self.settings.kafka_bootstrap_servers, topic)


@asynccontextmanager
async def stage(*, kafka: bool = True, settings: Mapping[str, str] | None = None) -> AsyncIterator[Stage]:
    """Start both (or PostgreSQL alone), with a template database that has the current schema."""
    with tempfile.TemporaryDirectory(prefix="projector-bench-") as name, ExitStack() as servers:
        home = Path(name)
        database = EmbeddedPostgres(settings={**POSTGRES, **(settings or {})})
        servers.callback(database.stop)
        url = database.start(home / "postgres")
        broker = ApacheKafka(properties=KAFKA) if kafka else None
        bootstrap = "localhost:9"
        if broker is not None:
            servers.callback(broker.stop)
            bootstrap = broker.start(home / "kafka")
        made = Stage(_settings(url, bootstrap, "bench"), database, broker, home)
        await _make_template(made)
        yield made


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Connection]:
    """A connection of the benchmark's own."""
    connection = await postgres.connect(settings, "projector-bench")
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def fresh_database(on: Stage, copied: str | None = None, name: str | None = None) -> AsyncIterator[str]:
    """The URL of a database with the schema and no rows, or those of the one `copied`; it is dropped at the end."""
    query = SQL["copy_database" if copied else "create_database"]
    name = name or f"bench_{secrets.token_hex(4)}"
    async with connected(on.settings) as connection:
        create = query.format(name=quoted(name), template=quoted(copied or _TEMPLATE))
        await connection.execute(create, timeout=_TO_COPY)
        await connection.execute(SQL["settle"], timeout=_TO_COPY)
    try:
        yield on.database.url(name)
    finally:
        async with connected(on.settings) as connection:
            await connection.execute(SQL["drop_database"].format(name=quoted(name)))


@contextmanager
def running(launches: Sequence[Launch]) -> Iterator[list[ServerProcess]]:
    """These processes; ended at the end, and with us."""
    started: list[ServerProcess] = []
    try:
        for launch in launches:
            started.append(spawn(launch))  # noqa: PERF401 - one that was started is ended, whatever the next one does
        yield started
    finally:
        for member in started:
            if member.alive():
                member.send(SIGTERM)
        for member in started:
            if member.alive():
                member.end(_ENDING)


@contextmanager
def members(commands: Sequence[tuple[Sequence[str], Mapping[str, str]]], log: Path) -> Iterator[list[ServerProcess]]:
    """Python programs of ours (`-m` and so on, with their environment) as processes; ended at the end, and with us."""
    launches = [
        Launch(argv=[sys.executable, *arguments], log=log, directory=ROOT, environment={**bare(), **environment})
        for arguments, environment in commands
    ]
    with running(launches) as started:
        yield started


def tried(settings: Sequence[str]) -> dict[str, str]:
    """PostgreSQL settings from the command line, `name=value`, for finding out what they do."""
    return dict(setting.split("=", 1) for setting in settings)


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """What a child process is told."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "PROJECTOR_TOPICS": ",".join(settings.topics),
        "PROJECTOR_GROUP_ID": f"bench-{secrets.token_hex(4)}",
        "PROJECTOR_LOG_LEVEL": "warning",
        **more,
    }


def bare() -> dict[str, str]:
    """This process's environment without what would set anything about the one to be measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PROJECTOR_", "PYTHON", "PG"))}


def _settings(url: str, bootstrap: str, topic: str) -> Settings:
    return load(environment={}, database_url=url, kafka_bootstrap_servers=bootstrap, topics=(topic,))


async def _make_template(made: Stage) -> None:
    async with connected(made.settings) as connection:
        await connection.execute(SQL["create_database"].format(name=quoted(_TEMPLATE), template="template1"))
    async with connected(made.at(made.database.url(_TEMPLATE), "bench")) as connection:
        await install(connection)
