"""`projector dead-letters`: what could not be applied, and why."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from consumer import letters
from consumer.install import check_schema
from consumer.verdicts import Reason
from runtime import postgres
from runtime.settings import load

app = typer.Typer(help="Records that could not be applied.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Database = Annotated[str | None, typer.Option(help="Instead of DATABASE_URL.")]


@app.command("list")
def list_letters(
    reason: Annotated[Reason | None, typer.Option(help="Only this reason.")] = None,
    order: Annotated[str | None, typer.Option(help="Only this order.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, the newest first.")] = 50,
    database_url: Database = None,
    as_json: Json = False,
) -> None:
    """List dead letters, the newest first."""
    found = asyncio.run(_ask(database_url, lambda connection: letters.find(connection, reason, order, every, limit)))
    if as_json:
        typer.echo(orjson.dumps(found))
        return
    table = Table()
    for name in ("id", "reason", "order", "record", "error"):
        table.add_column(name)
    for one in found:
        record = f"{one['topic']}/{one['partition']}@{one['offset']}"
        table.add_row(str(one["id"]), one["reason"], one["order_id"] or "–", record, one["error"])
    Console().print(table)


@app.command("show")
def show_letter(
    letter: Annotated[int, typer.Argument(help="Its id, from `list`.")],
    database_url: Database = None,
    as_json: Json = False,
) -> None:
    """Show one dead letter, its bytes too."""
    found = asyncio.run(_ask(database_url, lambda connection: letters.show(connection, letter)))
    if found is None:
        typer.echo(f"there is no dead letter {letter}", err=True)
        raise typer.Exit(1)
    if as_json:
        typer.echo(orjson.dumps(found))
        return
    for name, value in found.items():
        typer.echo(f"{name}: {value}")


async def _ask(database_url: str | None, question: Any) -> Any:
    connection = await postgres.connect(load(database_url=database_url), "projector-dead-letters")
    try:
        with postgres.translated():
            await check_schema(connection)
            return await question(connection)
    finally:
        await connection.close()
