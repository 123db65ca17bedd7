"""`projector worker`: one member of the fleet, or several on one machine."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from typing import Annotated

import structlog
import typer
from prometheus_client import start_http_server

from consumer.install import check
from consumer.observation import Observation
from consumer.worker import Worker
from runtime import logs, postgres, service
from runtime.settings import Settings, load

_log = structlog.get_logger("projector.fleet")

_RESTARTS = 5  # of one member, in a row; then the whole fleet ends, for its supervisor to see
_HEALTHY = 60.0  # seconds after which a member's earlier ends are forgotten


def worker(
    processes: Annotated[int, typer.Option(min=1, max=64, help="Members of the fleet on this machine.")] = 1,
    kafka_bootstrap_servers: Annotated[str | None, typer.Option(help="Instead of KAFKA_BOOTSTRAP_SERVERS.")] = None,
    database_url: Annotated[str | None, typer.Option(help="Instead of DATABASE_URL.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Instead of PROJECTOR_BATCH_SIZE.")] = None,
    group_id: Annotated[str | None, typer.Option(help="Instead of PROJECTOR_GROUP_ID.")] = None,
) -> None:
    """Consume order events and maintain the read models, until SIGTERM."""
    settings = load(
        kafka_bootstrap_servers=kafka_bootstrap_servers,
        database_url=database_url,
        batch_size=batch_size,
        group_id=group_id,
    )
    logs.configure(settings.log_level, settings.log_format)
    if processes > 1:
        code = service.run(lambda stop: _fleet(stop, processes, settings))
    else:
        code = service.run(lambda stop: _member(stop, settings))
    raise typer.Exit(code)


async def _member(stop: asyncio.Event, settings: Settings) -> int:
    owner = f"{socket.gethostname()}-{os.getpid()}"
    observation = Observation()
    if settings.metrics_port is not None:
        start_http_server(settings.metrics_port, "127.0.0.1", observation.registry)
    async with postgres.pool(settings, "projector-worker", settings.lanes + 1) as pool:
        with postgres.translated():
            async with pool.acquire() as connection:
                await check(connection)
        _log.info("worker_started", owner=owner, topics=settings.topics, lanes=settings.lanes)
        await Worker(settings, pool, owner, observation).run(stop)
    _log.info("worker_stopped", owner=owner, **observation.counts)
    return 0


async def _fleet(stop: asyncio.Event, processes: int, settings: Settings) -> int:
    """Supervise child processes; the worst of their exit codes."""
    environment = dict(os.environ)
    environment.update(
        KAFKA_BOOTSTRAP_SERVERS=settings.kafka_bootstrap_servers,
        DATABASE_URL=settings.database_url.get_secret_value(),
        PROJECTOR_BATCH_SIZE=str(settings.batch_size),
        PROJECTOR_GROUP_ID=settings.group_id,
    )
    codes = await asyncio.gather(
        *(_supervise(stop, number, {**environment, **_own_port(settings, number)}) for number in range(processes))
    )
    return max(codes)


def _own_port(settings: Settings, number: int) -> dict[str, str]:
    """Members can't share a port: each gets the next one."""
    return {"PROJECTOR_METRICS_PORT": str(settings.metrics_port + number)} if settings.metrics_port else {}


async def _supervise(stop: asyncio.Event, number: int, environment: dict[str, str]) -> int:
    """Keep one member running until told to stop; give up when it ends again and again."""
    loop = asyncio.get_running_loop()
    failures = 0
    while True:
        began = loop.time()
        # A session of its own: Ctrl-C in a terminal reaches this process alone, which then asks each member once.
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cli", "worker", env=environment, start_new_session=True
        )
        code = await _until_end(child, stop)
        if stop.is_set():
            return 0 if code in (0, -signal.SIGTERM) else abs(code)
        failures = 1 if loop.time() - began > _HEALTHY else failures + 1
        _log.error("member_ended", member=number, exit_code=code, failures=failures)
        if failures > _RESTARTS or code == 2:
            stop.set()
            return abs(code) or 1


async def _until_end(child: asyncio.subprocess.Process, stop: asyncio.Event) -> int:
    stopping = asyncio.ensure_future(stop.wait())
    ending = asyncio.ensure_future(child.wait())
    await asyncio.wait({stopping, ending}, return_when=asyncio.FIRST_COMPLETED)
    if not ending.done():
        child.send_signal(signal.SIGTERM)
    stopping.cancel()
    return await ending
