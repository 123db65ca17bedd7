"""Full disks: under PostgreSQL's tables, under its write-ahead log, under Kafka's log, under a worker's own files."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import asyncpg
from aiokafka import AIOKafkaProducer

from consumer.install import install
from runtime.embedded.apache_kafka import ApacheKafka
from runtime.embedded.postgres import EmbeddedPostgres
from runtime.embedded.postgres_programs import server_account
from testkit.deadline import eventually
from tests.faults.evidence import logged, seen
from tests.faults.fault import fault
from tests.faults.load import Load
from tests.faults.scene import Scene
from tests.support.saboteurs.disk import SmallDisk, small_disk
from tests.support.saboteurs.needs import need_small_disk

_MOVE = "ALTER TABLE ALL IN TABLESPACE {} SET TABLESPACE {}; ALTER INDEX ALL IN TABLESPACE {} SET TABLESPACE {}"


@asynccontextmanager
async def _disk(scene: Scene, megabytes: int) -> AsyncIterator[SmallDisk]:
    need_small_disk()
    with small_disk(megabytes) as disk:
        scene.tools["disk"] = disk
        yield disk


def _filled(scene: Scene) -> SmallDisk:
    disk = scene.tools["disk"]
    assert isinstance(disk, SmallDisk)
    assert disk.fill() > 0
    scene.evidence["filled"] += 1
    return disk


@asynccontextmanager
async def _tables_on_disk(scene: Scene) -> AsyncIterator[None]:
    async with _disk(scene, 64) as disk:
        directory = disk.directory / "tables"
        directory.mkdir(mode=0o700)
        if account := server_account():
            os.chown(directory, account.uid, account.gid)
        await scene.connection.execute(f"CREATE TABLESPACE small LOCATION '{directory}'")
        await scene.connection.execute(_MOVE.format("pg_default", "small", "pg_default", "small"))
        try:
            yield
        finally:
            await scene.connection.execute(_MOVE.format("small", "pg_default", "small", "pg_default"))
            await scene.connection.execute("DROP TABLESPACE small")


@fault(
    39,
    "disk full under PostgreSQL's tables",
    shown_by=("disk full", "again for PostgreSQL"),
    needs=frozenset({"postgres"}),
    around=_tables_on_disk,
)
async def tables_full(scene: Scene) -> None:
    disk = _filled(scene)
    await eventually(lambda: all(_disk_full(scene, member.pid) for member in scene.running), 60)
    scene.evidence["disk full"] += sum(_disk_full(scene, member.pid) for member in scene.running)
    disk.free()


def _disk_full(scene: Scene, pid: int) -> int:
    [member] = [member for member in scene.running if member.pid == pid]
    return sum("SQLSTATE 53100" in str(line.get("reason")) for line in logged(member))


@asynccontextmanager
async def _postgres_on_disk(scene: Scene) -> AsyncIterator[None]:
    """A server of its own, with all that it has on the small disk."""
    async with _disk(scene, 200) as disk:
        server = EmbeddedPostgres(settings={"min_wal_size": "32MB", "max_wal_size": "48MB"})
        shared = scene.fleet.connection
        try:
            scene.fleet.url = await asyncio.to_thread(server.start, disk.directory / "postgres")
            scene.fleet.connection = await asyncpg.connect(scene.fleet.url)
            await install(scene.connection)
            scene.tools["postgres"], scene.fleet.settings["DATABASE_URL"] = server, scene.fleet.url
            yield
        finally:
            scene.fleet.connection.terminate()
            scene.fleet.connection = shared
            server.stop()


@fault(
    39,
    "disk full under PostgreSQL's write-ahead log",
    shown_by=("panics", "again for PostgreSQL"),
    around=_postgres_on_disk,
)
async def wal_full(scene: Scene) -> None:
    """It panics, since it can promise nothing any more, and can't recover either before there is room."""
    server = scene.tools["postgres"]
    disk = _filled(scene)
    await eventually(lambda: _panics(scene, disk.directory / "postgres" / "postgres.log"), 60)
    disk.free()
    await asyncio.to_thread(server.restart)
    await scene.fleet.reconnect()


async def _panics(scene: Scene, log: Path) -> int:
    """Have it begin another file of its log. How often it had no room for that."""
    with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        await scene.connection.execute("SELECT pg_switch_wal()", timeout=5)
    scene.evidence["panics"] = _said(log, "PANIC:")
    return scene.evidence["panics"]


def _said(log: Path, word: str) -> int:
    return log.read_text("utf-8", "replace").count(word)


@asynccontextmanager
async def _kafka_on_disk(scene: Scene) -> AsyncIterator[None]:
    """A broker of its own, with its log on the small disk; the run moves there as a whole."""
    async with _disk(scene, 200) as disk:
        broker = ApacheKafka()
        stage, load, topic = scene.stage, scene.load, scene.topic
        try:
            bootstrap = await asyncio.to_thread(broker.start, disk.directory / "kafka")
            scene.stage = replace(stage, bootstrap=bootstrap, kafka=broker)
            async with (
                scene.stage.topic(scene.partitions) as scene.topic,
                AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, linger_ms=5) as producer,
            ):
                scene.load = Load(producer, scene.topic)
                scene.fleet.settings |= {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "PROJECTOR_TOPICS": scene.topic}
                yield
        finally:
            await scene.load.cancel()
            scene.stage, scene.load, scene.topic = stage, load, topic
            await asyncio.to_thread(broker.stop)


@fault(39, "disk full under Kafka's log", shown_by=("broker ended",), around=_kafka_on_disk)
async def log_full(scene: Scene) -> None:
    """The broker ends itself. What it has not acknowledged is sent again when it is back."""
    broker = scene.stage.kafka
    assert broker is not None
    disk = _filled(scene)
    await eventually(lambda: broker.process is not None and not broker.process.alive(), 60)
    scene.evidence["broker ended"] += 1
    disk.free()
    await asyncio.to_thread(broker.start)


@asynccontextmanager
async def _workers_files_on_disk(scene: Scene) -> AsyncIterator[None]:
    """Temporary files and what is logged."""
    async with _disk(scene, 8) as disk:
        directory = str(disk.directory)
        try:
            with patch.object(tempfile, "tempdir", directory), patch.dict(os.environ, {"TMPDIR": directory}):
                yield
        finally:
            for member in scene.fleet.members:  # who ends them reads and removes their logs
                descriptor, elsewhere = tempfile.mkstemp()
                os.close(descriptor)
                member._log = Path(shutil.copy(member._log, elsewhere))


@fault(39, "disk full under workers' temporary files and log", shown_by=("unlogged",), around=_workers_files_on_disk)
async def workers_disk_full(scene: Scene) -> None:
    """They can say nothing. They work on."""
    workers = scene.running
    disk = _filled(scene)
    await eventually(lambda: _unsaid(scene), 60)
    disk.free()
    assert scene.running == workers


async def _unsaid(scene: Scene) -> bool:
    """Give them a reason to log. Whether there were some that are in no log, though there was a line for each."""
    await scene.connection.execute(_INTERRUPT)
    await scene.works()
    await scene.gauges.look()
    unsaid = int(scene.gauges.total("projector_retries_total")) - seen(scene.running)["again"]
    scene.evidence["unlogged"] = max(unsaid, 0)
    return unsaid >= 3


_INTERRUPT = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'projector-worker'
"""
