"""`projector dead-letters`: what could not be applied, and why."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
import typer

from cli import discard, retry
from cli.letters import ByOrder, ByReason, ByType, Database, Id, Json, counted, plain
from consumer import letters
from consumer.install import check_schema
from consumer.letters import Selection
from runtime import postgres
from runtime.settings import load

app = typer.Typer(help="Records that could not be applied.", no_args_is_help=True)


@app.command("list")
def list_letters(
    reason: ByReason = None,
    order: ByOrder = None,
    event_type: ByType = None,
    every: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, the newest first.")] = 50,
    database_url: Database = None,
    as_json: Json = False,
) -> None:
    """List dead letters, the newest first."""
    wanted = Selection(reason=reason, order_id=order, event_type=event_type)
    found = asyncio.run(
        _ask(database_url, lambda connection: letters.find(connection, wanted, resolved_too=every, most=limit))
    )
    if as_json:
        typer.echo(orjson.dumps(found))
        return
    for one in found:
        typer.echo(_listed(one))


@app.command("show")
def show_letter(letter: Id, database_url: Database = None, as_json: Json = False) -> None:
    """Show one dead letter, its bytes too."""
    found = asyncio.run(_ask(database_url, lambda connection: letters.show(connection, letter)))
    if found is None:
        typer.echo(f"there is no dead letter {letter}", err=True)
        raise typer.Exit(1)
    if as_json:
        typer.echo(orjson.dumps(found))
        return
    for name, value in found.items():
        typer.echo(f"{name}: {plain(value)}")


app.command("retry")(retry.retry)
app.command("discard")(discard.discard)


def _listed(one: Mapping[str, Any]) -> str:
    """One letter in a few lines, however wide the terminal: which, why, and how it ended."""
    order = "no order" if one["order_id"] is None else f"order {plain(one['order_id'])}"
    record = f"{one['topic']}/{one['partition']}@{one['offset']}"
    which = f"{one['id']}  {one['state']}  {one['reason']}  {order}  {record}  {counted(one['attempts'], 'attempt')}"
    lines = [which, plain(one["last_error"] or one["error"])]
    if one["resolved_by"] is not None:
        lines.append(plain(f"{one['state']} by {one['resolved_by']}: {one['resolution_note']}"))
    return "\n    ".join(lines)


async def _ask(database_url: str | None, question: Any) -> Any:
    connection = await postgres.connect(load(database_url=database_url), "projector-dead-letters")
    try:
        with postgres.translated():
            await check_schema(connection)
            return await question(connection)
    finally:
        await connection.close()
