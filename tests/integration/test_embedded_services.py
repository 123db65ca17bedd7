"""The embedded services do what they say, also when they are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from runtime.embedded import stack, state
from runtime.embedded.apache_kafka import ApacheKafka
from runtime.embedded.ports import speaks_kafka
from runtime.embedded.postgres import EmbeddedPostgres
from runtime.embedded.processes import Identity, ServerProcess, identify
from runtime.embedded.tansu import TansuBroker
from schemas.errors import Refused
from testkit.deadline import eventually
from testkit.topics import create_topic


@pytest.fixture
def directory() -> Iterator[Path]:
    """Not pytest's tmp_path: as root, PostgreSQL runs as nobody, and pytest shuts others out of its
    own."""
    with tempfile.TemporaryDirectory(prefix="projector-test-") as path:
        yield Path(path)


@pytest.fixture
def postgres(directory: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres()
    server.start(directory / "postgres")
    yield server
    server.stop()


async def query(url: str, sql: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def new_topic(bootstrap: str) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        return await create_topic(admin, partitions=1)
    finally:
        await admin.close()


async def produce(bootstrap: str, topic: str, *values: bytes, idempotent: bool = False) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=idempotent) as producer:
        for value in values:
            await producer.send_and_wait(topic, value)


async def consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    group = f"group-{uuid4().hex[:8]}"
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest"
    ) as consumer:
        values: list[bytes] = []

        async def all_there() -> bool:
            fetched = await consumer.getmany(timeout_ms=200)
            values.extend(record.value for records in fetched.values() for record in records)
            return len(values) >= count

        await eventually(all_there, timeout=20)
        return values


async def test_postgres_is_durable_and_offers_its_database(
    postgres: EmbeddedPostgres,
) -> None:
    assert await query(postgres.url(), "SELECT current_database()") == "projector"
    assert await query(postgres.url(), "SHOW fsync") == "on"
    assert await query(postgres.url(), "SHOW synchronous_commit") == "on"
    assert await query(postgres.url(), "SHOW max_connections") == "200"


async def test_postgres_wants_its_password(postgres: EmbeddedPostgres) -> None:
    password = postgres.url().split(":")[2].split("@")[0]
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres.url().replace(password, "guess"))


async def test_postgres_keeps_its_data_over_a_stop(postgres: EmbeddedPostgres, directory: Path) -> None:
    await query(postgres.url(), "CREATE TABLE kept AS SELECT 42 AS answer")
    postgres.stop()
    postgres.stop()
    with pytest.raises(OSError, match="Connect call failed"):
        await query(postgres.url(), "SELECT 1")
    second = EmbeddedPostgres()
    try:
        assert await query(second.start(directory / "postgres"), "SELECT answer FROM kept") == 42
    finally:
        second.stop()


async def test_postgres_keeps_its_data_and_port_over_a_kill(postgres: EmbeddedPostgres) -> None:
    url = postgres.url()
    await query(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    postgres.kill9()
    assert postgres.start() == url
    assert await query(url, "SELECT answer FROM kept") == 42


async def test_postgres_starts_over_the_lock_of_a_dead_server_whose_pid_is_taken(
    postgres: EmbeddedPostgres, directory: Path
) -> None:
    postgres.kill9()
    lock = directory / "postgres" / "cluster" / "postmaster.pid"
    lines = lock.read_text().splitlines()
    lock.write_text("\n".join(["1", *lines[1:]]) + "\n")
    assert await query(postgres.start(), "SELECT 1") == 1


async def test_postgres_refuses_a_directory_in_use(
    postgres: EmbeddedPostgres, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.embedded.postgres.ORPHANS_SECONDS", 0.1)
    with pytest.raises(Refused, match="in use by processes"):
        EmbeddedPostgres().start(directory / "postgres")
    assert await query(postgres.url(), "SELECT 1") == 1


def start_postgres_in_a_process_that_is_killed(data_dir: Path) -> int:
    """The pid of the server it left behind."""
    program = f"""
from pathlib import Path
from runtime.embedded.postgres import EmbeddedPostgres
server = EmbeddedPostgres()
server.start(Path({str(data_dir)!r}))
print(server.process.pid, flush=True)
input()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    return pid


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has a death signal")
async def test_an_attached_server_dies_with_its_parent(directory: Path) -> None:
    pid = start_postgres_in_a_process_that_is_killed(directory / "postgres")
    await eventually(lambda: identify(pid) is None)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has a death signal")
async def test_postgres_starts_at_once_after_its_parent_was_killed(directory: Path) -> None:
    start_postgres_in_a_process_that_is_killed(directory / "postgres")
    server = EmbeddedPostgres()
    assert await query(server.start(directory / "postgres"), "SELECT 1") == 1
    server.stop()


async def test_tansu_carries_records() -> None:
    with TansuBroker() as broker:
        topic = await new_topic(broker.bootstrap())
        await produce(broker.bootstrap(), topic, b"one", b"two")
        assert await consume(broker.bootstrap(), topic, 2) == [b"one", b"two"]


async def test_kafka_takes_an_idempotent_producer(breakable_kafka: ApacheKafka) -> None:
    topic = await new_topic(breakable_kafka.bootstrap())
    await produce(breakable_kafka.bootstrap(), topic, b"one", b"two", idempotent=True)
    assert await consume(breakable_kafka.bootstrap(), topic, 2) == [b"one", b"two"]


async def test_kafka_keeps_its_log_and_port_over_a_kill(breakable_kafka: ApacheKafka) -> None:
    bootstrap = breakable_kafka.bootstrap()
    topic = await new_topic(bootstrap)
    await produce(bootstrap, topic, b"before", idempotent=True)
    breakable_kafka.kill9()
    assert breakable_kafka.start() == bootstrap
    await produce(bootstrap, topic, b"after", idempotent=True)
    assert await consume(bootstrap, topic, 2) == [b"before", b"after"]


async def test_kafka_takes_further_listeners_and_properties() -> None:
    extra = ApacheKafka(
        listeners={"INSIDE": "SASL_PLAINTEXT"},
        properties={
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.inside.plain.sasl.jaas.config": "org.apache.kafka.common.security.plain"
            '.PlainLoginModule required user_alice="secret";',
        },
    )
    with extra as broker:
        async with AIOKafkaProducer(
            bootstrap_servers=broker.bootstrap("INSIDE"),
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="PLAIN",
            sasl_plain_username="alice",
            sasl_plain_password="secret",
        ) as producer:
            topic = await new_topic(broker.bootstrap())
            await producer.send_and_wait(topic, b"signed")
        assert await consume(broker.bootstrap(), topic, 1) == [b"signed"]


@pytest.fixture
def home(directory: Path) -> Iterator[Path]:
    yield directory
    stack.down(directory)


def broker_port(endpoints: state.Endpoints) -> int:
    return int(endpoints.kafka_bootstrap_servers.rpartition(":")[2])


async def test_up_twice_is_up_once_and_down_ends_both(home: Path) -> None:
    endpoints = stack.up(home)
    assert stack.up(home) == endpoints
    assert await query(endpoints.database_url, "SELECT 1") == 1
    assert speaks_kafka(broker_port(endpoints))
    assert stack.down(home)
    assert not speaks_kafka(broker_port(endpoints))
    assert not stack.down(home)


async def test_up_replaces_a_stack_of_which_one_server_died(home: Path) -> None:
    first = stack.up(home)
    recorded = state.read(home)
    assert recorded is not None
    assert recorded.broker is not None
    recorded.broker.process().end([(signal.SIGKILL, 10.0)])
    second = stack.up(home)
    assert await query(second.database_url, "SELECT 1") == 1
    with pytest.raises((OSError, asyncpg.InvalidPasswordError)):
        await query(first.database_url, "SELECT 1")


def test_down_spares_a_stranger_who_got_a_recorded_pid(home: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        born = identify(stranger.pid)
        assert born is not None
        earlier = ServerProcess(Identity(stranger.pid, "in another life"))
        record = state.RecordedServer.of(earlier, "127.0.0.1:1", [(signal.SIGKILL, 1.0)])
        state.write(home, state.StackState(broker_kind="tansu", broker=record, database=record))
        assert not stack.down(home)
        assert stranger.poll() is None
        stranger.kill()


async def test_another_broker_is_refused_while_one_runs(home: Path) -> None:
    stack.up(home, "tansu")
    with pytest.raises(Refused, match="projector down"):
        stack.up(home, "apache")


async def test_a_stack_of_apache_kafka_keeps_database_and_log(home: Path, breakable_kafka: ApacheKafka) -> None:
    breakable_kafka.stop()  # asked for only to be skipped where Java is missing
    first = stack.up(home, "apache")
    topic = await new_topic(first.kafka_bootstrap_servers)
    await produce(first.kafka_bootstrap_servers, topic, b"kept")
    await query(first.database_url, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert stack.down(home)
    second = stack.up(home, "apache")
    assert await consume(second.kafka_bootstrap_servers, topic, 1) == [b"kept"]
    assert await query(second.database_url, "SELECT answer FROM kept") == 42


async def test_an_attached_stack_ends_with_its_context() -> None:
    with stack.attached() as endpoints:
        assert await query(endpoints.database_url, "SELECT 1") == 1
    assert not speaks_kafka(broker_port(endpoints))


async def test_each_test_gets_a_database_and_a_topic_of_its_own(
    database_url: str, topic: str, kafka_bootstrap: str
) -> None:
    await query(database_url, "CREATE TABLE mine AS SELECT 1 AS one")
    await produce(kafka_bootstrap, topic, b"mine")
    assert await consume(kafka_bootstrap, topic, 1) == [b"mine"]


async def test_a_later_test_sees_nothing_of_an_earlier_one(database_url: str) -> None:
    assert await query(database_url, "SELECT to_regclass('mine')") is None


@pytest.mark.apache_kafka
async def test_the_mark_brings_a_broker_that_takes_idempotent_producers(kafka_bootstrap: str, topic: str) -> None:
    await produce(kafka_bootstrap, topic, b"once", idempotent=True)
    assert await consume(kafka_bootstrap, topic, 1) == [b"once"]
