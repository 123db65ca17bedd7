"""`projector relay`: publishes the outbox."""

from __future__ import annotations

import asyncio
from typing import Annotated

import structlog
import typer

from cli.letters import Brokers
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
) -> None:
    """Publish the outbox, until SIGTERM. Of several relays one works and the others stand by."""
    settings = load(kafka_bootstrap_servers=kafka_bootstrap_servers, database_url=database_url)
    logs.configure(settings.log_level, settings.log_format)
    raise typer.Exit(service.run(lambda stop: _relay(stop, settings)))


async def _relay(stop: asyncio.Event, settings: Settings) -> int:
    owner = service.owner()
    observation = RelayObservation()
    async with (
        pulse(settings.stuck_timeout),
        served(settings, observation.checks, observation.registry),
    ):
        await service.together(stop, 0, _ready(settings))
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
