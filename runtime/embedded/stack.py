"""PostgreSQL and a broker together: what `projector up`, `projector down` and `projector demo`
start and end.

Tansu keeps nothing over a restart, so the database that goes with it starts empty too: checkpoints
that point into a log that is gone would be worse than no checkpoints. With Apache Kafka both keep
what they had.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from runtime.embedded import apache_kafka, postgres, state, tansu
from runtime.embedded.apache_kafka import ApacheKafka
from runtime.embedded.postgres import EmbeddedPostgres
from runtime.embedded.state import BrokerKind, Endpoints, RecordedServer, StackState
from runtime.embedded.tansu import TansuBroker
from schemas.errors import Refused

DIRECTORY = Path(".projector")


def up(directory: Path = DIRECTORY, broker: BrokerKind = "tansu") -> Endpoints:
    """Starts both, detached from this process; when both run already, says where. If only one of
    them still runs, it is ended and both are started."""
    directory = _settle(directory)
    with _alone(directory):
        recorded = state.read(directory)
        if recorded is not None:
            endpoints = recorded.endpoints()
            if endpoints is not None:
                _same_kind(recorded, broker)
                return endpoints
            _end(recorded)
        return _start(directory, StackState(broker_kind=broker))


def down(directory: Path = DIRECTORY) -> bool:
    """Ends what `up` started there, and nothing else. Says whether anything ran."""
    if not directory.exists():
        return False
    with _alone(directory):
        recorded = state.read(directory)
        ran = recorded is not None and _end(recorded)
        state.forget(directory)
        return ran


@contextmanager
def attached(broker: BrokerKind = "tansu", *, throwaway: bool = False) -> Iterator[Endpoints]:
    """Both for as long as the context lasts, with nothing kept afterwards."""
    with ExitStack() as servers:
        database = servers.enter_context(EmbeddedPostgres(throwaway=throwaway))
        kafka = TansuBroker() if broker == "tansu" else ApacheKafka()
        servers.callback(kafka.stop)
        yield Endpoints(kafka_bootstrap_servers=kafka.start(), database_url=database.url())


def _start(directory: Path, wanted: StackState) -> Endpoints:
    """Each server is recorded as soon as it runs: whatever goes wrong after, `down` finds it."""
    home = directory / wanted.broker_kind
    try:
        wanted.database = _start_database(home / "postgres", keep=wanted.broker_kind == "apache")
        state.write(directory, wanted)
        wanted.broker = _start_broker(home / "kafka", wanted.broker_kind)
        state.write(directory, wanted)
    except BaseException:
        _end(wanted)
        state.forget(directory)
        raise
    return Endpoints(kafka_bootstrap_servers=wanted.broker.address, database_url=wanted.database.address)


def _start_database(home: Path, *, keep: bool) -> RecordedServer:
    if home.exists() and not keep:
        shutil.rmtree(home)
    database = EmbeddedPostgres(detached=True)
    url = database.start(home)
    return RecordedServer.of(database.process, url, postgres.FAST_SHUTDOWN)


def _start_broker(home: Path, kind: BrokerKind) -> RecordedServer:
    if kind == "tansu":
        memory = TansuBroker(detached=True)
        address = memory.start(home)
        return RecordedServer.of(memory.process, address, tansu.ENDING)
    kafka = ApacheKafka(detached=True)
    address = kafka.start(home)
    return RecordedServer.of(kafka.process, address, apache_kafka.ENDING)


def _end(recorded: StackState) -> bool:
    """Ends, last started first, those of the recorded servers that still run. Says whether any
    did."""
    running = [server for server in reversed(recorded.servers()) if server.process().alive()]
    for server in running:
        server.process().end(server.ending)
    return bool(running)


def _same_kind(recorded: StackState, broker: BrokerKind) -> None:
    if recorded.broker_kind != broker:
        raise Refused(f"a stack with --broker {recorded.broker_kind} runs: `projector down` first")


def _settle(directory: Path) -> Path:
    directory = directory.resolve()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """One `up` or `down` at a time in a directory; the lock goes with its holder, however that
    ends."""
    with (directory / "stack.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
