"""`projector up`, `down`, `migrate`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Literal

import orjson
import typer

from consumer.install import Installed, install
from runtime import postgres
from runtime.embedded import stack
from runtime.settings import load

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Broker = Literal["tansu", "apache"]


def up(
    broker: Annotated[
        Broker, typer.Option(help="apache: a real Kafka under the JVM; tansu: at once, in memory.")
    ] = "tansu",
    directory: Annotated[Path, typer.Option(help="Where their data and state are kept.")] = stack.DIRECTORY,
    as_json: Json = False,
) -> None:
    """Start an embedded PostgreSQL and Kafka, and say where they are: `export $(projector up)`."""
    endpoints = stack.up(directory, broker)
    found = {
        "KAFKA_BOOTSTRAP_SERVERS": endpoints.kafka_bootstrap_servers,
        "DATABASE_URL": endpoints.database_url,
    }
    if as_json:
        typer.echo(orjson.dumps(found))
    else:
        for name, value in found.items():
            typer.echo(f"{name}={value}")


def down(
    directory: Annotated[Path, typer.Option(help="The directory that `up` was given.")] = stack.DIRECTORY,
    as_json: Json = False,
) -> None:
    """Stop what `up` started."""
    stopped = stack.down(directory)
    typer.echo(orjson.dumps({"stopped": stopped}) if as_json else "stopped" if stopped else "nothing was running")


def migrate(
    database_url: Annotated[str | None, typer.Option(help="Instead of DATABASE_URL.")] = None,
    as_json: Json = False,
) -> None:
    """Bring the database to the current schema; safe to repeat, and from many workers at once."""
    done = asyncio.run(_migrate(database_url))
    if as_json:
        typer.echo(orjson.dumps(done))
    else:
        _show(done)
    if done.outdated:
        raise typer.Exit(1)


def _show(done: Installed) -> None:
    for name in done.migrations:
        typer.echo(f"applied {name}")
    for name in done.read_models:
        typer.echo(f"made read model {name}")
    if not done.migrations and not done.read_models:
        typer.echo("already current")
    for name in done.outdated:
        typer.echo(f"read model {name} stands in another make: `projector rebuild {name}`")


async def _migrate(database_url: str | None) -> Installed:
    connection = await postgres.connect(load(database_url=database_url), "projector-migrate")
    try:
        with postgres.translated():
            return await install(connection)
    finally:
        await connection.close()
