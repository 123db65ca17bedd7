"""`projector relay`: publishes the outbox."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Annotated

import structlog
import typer

from cli.letters import Brokers
from cli.supervisor import FOLLOW, while_parent_lives
from consumer.install import check_schema
from producer.relay import Relay
from producer.relay_observation import RelayObservation
from runtime import kafka_access, logs, postgres, service
from runtime.http import served
from runtime.pulse import pulse
from runtime.settings import Settings, load

_log = structlog.get_logger("projector.relay")


def relay(
    kafka_bootstrap_servers: Brokers = None,
    database_url: Annotated[str | None, typer.Option(help="Instead of DATABASE_URL.")] = None,
    follow_stdin: Annotated[bool, typer.Option(FOLLOW, hidden=True)] = False,
) -> None:
    """Publish the outbox, until SIGTERM. Of several relays one works and the others stand by."""
    settings = load(kafka_bootstrap_servers=kafka_bootstrap_servers, database_url=database_url)
    logs.configure(settings.log_level, settings.log_format)
    raise typer.Exit(service.run(lambda stop: _relay(stop, settings, follow=follow_stdin)))


async def _relay(stop: asyncio.Event, settings: Settings, *, follow: bool) -> int:
    owner = f"{socket.gethostname()}-{os.getpid()}"
    observation = RelayObservation()
    async with (
        while_parent_lives(stop, follow=follow),
        pulse(settings.stuck_timeout),
        served(settings, observation.checks, observation.registry),
    ):
        await _ready(settings)
        _log.info("relay_started", owner=owner, topic=settings.topics[0])
        relay = Relay(settings, owner, observation)
        await service.together(stop, settings.stop_timeout, relay.run(stop))
    _log.info("relay_stopped", owner=owner, published=observation.sent)
    return 0


async def _ready(settings: Settings) -> None:
    """What a person would have to put right, said at the start."""
    connection = await postgres.connect(settings, "projector-relay")
    try:
        with postgres.translated():
            await check_schema(connection)
    finally:
        await connection.close()
    await kafka_access.check(settings, settings.topics[:1])
