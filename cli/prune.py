"""`projector prune`: histories that are old, and archived, leave the ledger."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Annotated

import orjson
import typer

from cli.letters import Brokers, Database, Json, counted
from consumer.prune import Pruned, prune
from runtime import logs, service
from runtime.settings import Settings, load

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_MOST = 36_500 * 24  # hours: beyond it no date is left to count back to


def _span(text: str) -> timedelta:
    """A span of time: `12h`, `90d`, `13w`."""
    found = re.fullmatch(r"([1-9][0-9]{0,6})([hdw])", text, re.ASCII)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no span of time: 90d, 13w or 12h")
    span = timedelta(**{_UNITS[found[2]]: int(found[1])})
    if span > timedelta(hours=_MOST):
        raise typer.BadParameter(f"{text} is longer than a hundred years")
    return span


def prune_ledger(
    keep: Annotated[
        timedelta, typer.Option(help="Orders that anything happened to since then: 90d, 13w, 12h.", parser=_span)
    ],
    archive: Annotated[str | None, typer.Option(help="Drop only what this archive has: a folder, or a URL.")] = None,
    unarchived: Annotated[bool, typer.Option("--unarchived", help="Drop for good, archived or not.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be dropped.")] = False,
    kafka_bootstrap_servers: Brokers = None,
    database_url: Database = None,
    as_json: Json = False,
) -> None:
    """Drop the histories of orders to which nothing has happened for long; the orders stay."""
    settings = load(kafka_bootstrap_servers=kafka_bootstrap_servers, database_url=database_url)
    logs.configure(settings.log_level, settings.log_format)
    if (archive is None) is not unarchived:
        raise typer.BadParameter("either --archive or --unarchived")
    raise typer.Exit(service.run(lambda stop: _prune(settings, keep, archive, stop, dry=dry_run, as_json=as_json)))


async def _prune(
    settings: Settings, keep: timedelta, archive: str | None, stop: asyncio.Event, *, dry: bool, as_json: bool
) -> int:
    done = await prune(settings, keep, archive, dry=dry, stop=stop)
    typer.echo(orjson.dumps(_as_json(done, dry=dry)) if as_json else _told(done, dry=dry))
    return 1 if stop.is_set() else 0


def _as_json(done: Pruned, *, dry: bool) -> dict[str, object]:
    return {
        "dry_run": dry,
        "before": done.before,
        "archived_until": done.archived,
        "orders": done.orders,
        "events": done.events,
        "orders_seen": done.orders_seen,
    }


def _told(done: Pruned, *, dry: bool) -> str:
    if done.archived is None:
        return (
            "nothing is known to be archived yet: where the log ends is noted; run `projector archive`, then this again"
        )
    what = f"{counted(done.events, 'event')} of {counted(done.orders, 'order')}"
    return f"{what} {'would be ' if dry else ''}dropped, of {counted(done.orders_seen, 'order')} in all"
