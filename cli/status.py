"""`projector status`: how far behind, how much waits, what can't be applied."""

from __future__ import annotations

import asyncio
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from cli.letters import Brokers
from consumer import freshness
from consumer.install import check_schema
from runtime import postgres
from runtime.settings import Settings, load


def status(
    kafka_bootstrap_servers: Brokers = None,
    database_url: Annotated[str | None, typer.Option(help="Instead of DATABASE_URL.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Lag, staleness, parked events and dead letters, per partition and in all; the slowest first."""
    settings = load(kafka_bootstrap_servers=kafka_bootstrap_servers, database_url=database_url)
    found = asyncio.run(_status(settings))
    if as_json:
        typer.echo(orjson.dumps(found))
    else:
        _show(found)


async def _status(settings: Settings) -> freshness.Status:
    connection = await postgres.connect(settings, "projector-status")
    try:
        with postgres.translated():
            await check_schema(connection)
            return await freshness.status(connection, settings)
    finally:
        await connection.close()


def _show(found: freshness.Status) -> None:
    console = Console()
    table = Table(title="Partitions, the slowest first")
    for name in ("topic", "partition", "applied up to", "end", "lag", "staleness", "last event", "owner"):
        table.add_column(name, justify="right" if name in ("partition", "lag", "staleness") else "left")
    for one in found.partitions:
        table.add_row(
            one.topic,
            str(one.partition),
            str(one.next_offset),
            str(one.end_offset),
            str(one.lag),
            f"{one.staleness:.1f} s",
            one.last_event_at.isoformat() if one.last_event_at else "–",
            one.owner or "–",
        )
    console.print(table)
    console.print(f"lag {found.lag} records, staleness {found.staleness:.1f} s")
    since = f", the oldest since {found.parked_oldest_at.isoformat()}" if found.parked_oldest_at else ""
    console.print(f"parked {found.parked} events of {found.parked_orders} orders{since}")
    if found.parked_older:
        console.print(f"{found.parked_older} of them wait for longer than {found.parked_limit:g} s")
    letters = ", ".join(f"{count} {reason}" for reason, count in found.dead_letters.items()) or "none"
    console.print(f"dead letters: {letters}")
