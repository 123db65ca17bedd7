"""`projector worker`: one member of the fleet, or several on one machine."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import structlog
import typer

from cli.letters import Brokers
from cli.supervisor import FOLLOW, supervise, while_parent_lives
from consumer.cache.marks import marking
from consumer.cache.store import order_cache
from consumer.health import Health
from consumer.install import check
from consumer.observation import Observation
from consumer.projection import Outcome
from consumer.telling import telling
from consumer.worker import Worker
from runtime import kafka_access, logs, postgres, service
from runtime.failpoints import Failpoints
from runtime.http import served
from runtime.pulse import pulse
from runtime.settings import Settings, load

_log = structlog.get_logger("projector.fleet")

_BESIDE_LANES = 4  # connections: for rebalances, for the watchdog, for telling readers, for what is cached


def worker(
    processes: Annotated[int, typer.Option(min=1, max=64, help="Members of the fleet on this machine.")] = 1,
    kafka_bootstrap_servers: Brokers = None,
    database_url: Annotated[str | None, typer.Option(help="Instead of DATABASE_URL.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Instead of PROJECTOR_BATCH_SIZE.")] = None,
    group_id: Annotated[str | None, typer.Option(help="Instead of PROJECTOR_GROUP_ID.")] = None,
    follow_stdin: Annotated[bool, typer.Option(FOLLOW, hidden=True)] = False,
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
        members = [_environment(settings, number) for number in range(processes)]
        code = service.run(lambda stop: supervise(stop, members))
    else:
        code = service.run(lambda stop: _member(stop, settings, follow=follow_stdin))
    raise typer.Exit(code)


async def _member(stop: asyncio.Event, settings: Settings, *, follow: bool) -> int:
    owner = service.owner()
    observation, health = Observation(), Health()
    size = settings.lanes + _BESIDE_LANES
    async with (
        while_parent_lives(stop, follow=follow),
        pulse(settings.stuck_timeout),
        served(settings, health, observation.registry),
        postgres.pool(settings, "projector-worker", size) as pool,
        telling(pool) as tell,
        order_cache(settings) as cache,
        marking(cache, pool, Failpoints(settings.failpoints)) as marks,
    ):

        def applied(outcome: Outcome) -> None:
            tell()
            if marks is not None:
                marks.note(outcome.orders, outcome.erased)

        with postgres.translated():
            async with pool.acquire() as connection:
                await check(connection)
        # Only at the start: what is to be put right while it runs finds the fleet still trying.
        await service.together(stop, 0, kafka_access.check(settings, settings.topics, settings.group_id))
        _log.info("worker_started", owner=owner, topics=settings.topics, lanes=settings.lanes)
        await Worker(settings, pool, owner, observation, health=health, applied=applied).run(stop)
    _log.info("worker_stopped", owner=owner, **observation.counts)
    return 0


def _environment(settings: Settings, number: int) -> dict[str, str]:
    """What a member of `--processes N` finds in its environment: members can't share a port or a name."""
    found = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "PROJECTOR_BATCH_SIZE": str(settings.batch_size),
        "PROJECTOR_GROUP_ID": settings.group_id,
    }
    if settings.metrics_port:
        found["PROJECTOR_METRICS_PORT"] = str(settings.metrics_port + number)
    if settings.group_instance_id:
        found["PROJECTOR_GROUP_INSTANCE_ID"] = f"{settings.group_instance_id}-{number}"
    return found
