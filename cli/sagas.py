"""`projector sagas`: drives the fulfilment sagas, or shows one's history."""

from __future__ import annotations

import asyncio
from typing import Annotated

import orjson
import structlog
import typer

from cli.write_side import commanding
from consumer.cache.store import order_cache
from consumer.install import check_schema
from producer import saga_store
from producer.saga_observation import SagaObservation
from producer.saga_runner import SagaRunner
from runtime import logs, postgres, service
from runtime.http import served
from runtime.pulse import pulse
from runtime.settings import Settings, load

_log = structlog.get_logger("projector.sagas")

_POOL = 2  # connections: for the reader's session is another one


def sagas(
    order: Annotated[str | None, typer.Option(help="Only show what was done for this order, and end.")] = None,
    database_url: Annotated[str | None, typer.Option(help="Instead of DATABASE_URL.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Undo orders that can't be completed, until SIGTERM. Of several of these one works and the others stand by."""
    settings = load(database_url=database_url)
    if order is not None:
        _show(order, asyncio.run(_history(settings, order)), as_json=as_json)
        return
    logs.configure(settings.log_level, settings.log_format)
    raise typer.Exit(service.run(lambda stop: _sagas(stop, settings)))


async def _sagas(stop: asyncio.Event, settings: Settings) -> int:
    owner = service.owner()
    observation = SagaObservation()
    async with (
        pulse(settings.stuck_timeout),
        served(settings, observation.checks, observation.registry),
        postgres.pool(settings, "projector-sagas", _POOL) as pool,
        order_cache(settings) as cache,
        commanding(settings, pool, cache) as handler,
    ):
        with postgres.translated():
            async with pool.acquire() as connection:
                await check_schema(connection)
        _log.info("sagas_started", owner=owner, consistency=settings.consistency)
        runner = SagaRunner(settings, owner, handler, observation)
        await service.together(stop, settings.stop_timeout, runner.run(stop))
    _log.info("sagas_stopped", owner=owner)
    return 0


async def _history(settings: Settings, order_id: str) -> tuple[saga_store.Standing | None, list[saga_store.Taken]]:
    connection = await postgres.connect(settings, "projector-sagas")
    try:
        with postgres.translated():
            await check_schema(connection)
            return await saga_store.standing(connection, order_id), await saga_store.history(connection, order_id)
    finally:
        await connection.close()


def _show(order_id: str, found: tuple[saga_store.Standing | None, list[saga_store.Taken]], *, as_json: bool) -> None:
    standing, steps = found
    if as_json:
        shown = {
            "order_id": order_id,
            "standing": None if standing is None else standing._asdict(),
            "steps": [{name: value for name, value in vars(step).items() if name != "order_id"} for step in steps],
        }
        typer.echo(orjson.dumps(shown))
    elif standing is None:
        typer.echo(f"no saga has seen order {order_id}")
    else:
        for step in steps:
            did = ", ".join(_told(command) for command in step.commands)
            typer.echo(
                f"{step.taken_at:%Y-%m-%d %H:%M:%S}  {step.caused_by}: {step.before} → {step.after}"
                + (f"  ({did})" if did else "")
            )
        due = f", {standing.timer} at {standing.due_at:%Y-%m-%d %H:%M:%S}" if standing.due_at else ""
        typer.echo(f"{standing.stage} at version {standing.version}{due}")
    if standing is None:
        raise typer.Exit(1)


def _told(command: dict[str, object]) -> str:
    if "refused" in command:
        return f"{command['command']} was refused: {command['refused']}"
    return f"{command['command']} made version {command['version']}"
