"""`projector rebuild` and `projector rollback`: read models made anew beside the live ones, and the way back."""

from __future__ import annotations

import asyncio
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from cli import rebuild_report as report
from cli.letters import Brokers, Database, Json, utf8
from cli.replay import moment_of
from consumer.cache.marks import renewed
from consumer.read_models import READ_MODELS
from consumer.rebuild import leftovers
from consumer.rebuild.as_of import schema_of
from consumer.rebuild.journal_source import FromJournal
from consumer.rebuild.log_source import FromLog
from consumer.rebuild.one_order import Mended, rebuild_order
from consumer.rebuild.rollback import rollback as roll_back
from consumer.rebuild.run import Rebuild
from consumer.rebuild.terms import From, Options
from runtime import logs, service
from runtime.settings import Settings, load


class Source(StrEnum):
    """Where events are read."""

    LOG = "log"
    JOURNAL = "journal"
    ARCHIVE = "archive"


def rebuild(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Read models; all if none.")] = None,
    source: Annotated[Source, typer.Option(help="Where the events are read.")] = Source.LOG,
    changed: Annotated[bool, typer.Option(help="Those whose make differs from what stands here.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 1,
    swap: Annotated[bool, typer.Option("--swap/--no-swap", help="Stop after the comparison, or swap.")] = True,
    accept_differences: Annotated[
        bool, typer.Option("--accept-differences", help="Swap though rows differ that should not.")
    ] = False,
    archive: Annotated[str | None, typer.Option(help="With --source archive: its URL or folder.")] = None,
    until: Annotated[
        str | None, typer.Option(help="A copy as of that time (2026-03-01T12:00:00Z) in a schema of its own.")
    ] = None,
    schema: Annotated[str | None, typer.Option(help="With --until: the schema; as_of_… if left out.")] = None,
    throttle: Annotated[float | None, typer.Option(min=1, help="Events a second at most.")] = None,
    order: Annotated[
        str | None, typer.Option(help="Only this order, from the journal, in one transaction.", callback=utf8)
    ] = None,
    drop: Annotated[bool, typer.Option("--drop-old", help="Only drop what the last swap has left.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Only end the rebuild that runs, or drop its rest.")] = False,
    kafka_bootstrap_servers: Brokers = None,
    database_url: Database = None,
    as_json: Json = False,
) -> None:
    """Make read models anew beside the live ones, compare, and swap them in, while everything serves."""
    settings = load(kafka_bootstrap_servers=kafka_bootstrap_servers, database_url=database_url)
    logs.configure(settings.log_level, settings.log_format)
    if sum((order is not None, drop, cancel, bool(names or changed))) > 1:
        raise typer.BadParameter("read models, --changed, --order, --drop-old and --cancel exclude each other")
    if cancel:
        report.cancelled(asyncio.run(leftovers.cancel(settings)), as_json=as_json)
    elif drop:
        report.dropped(asyncio.run(leftovers.drop_old(settings)), as_json=as_json)
    elif order is not None:
        report.mended(asyncio.run(_one(settings, order)), as_json=as_json)
    else:
        if (source is Source.ARCHIVE) is (archive is None):
            raise typer.BadParameter("--source archive and --archive go together")
        moment = None if until is None else moment_of(until)
        if moment is not None and (names or changed):
            raise typer.BadParameter("--until copies all read models")
        copy = None if moment is None else schema or schema_of(moment)
        options = Options(names or (), changed, workers, swap, accept_differences, throttle, copy)
        events = _from(settings, source, archive, workers, moment)
        raise typer.Exit(service.run(lambda stop: _rebuild(events, settings, options, stop, as_json=as_json)))


def rollback(database_url: Database = None, as_json: Json = False) -> None:
    """Back to the tables from before the last swap, caught up, while everything serves."""
    settings = load(database_url=database_url)
    logs.configure(settings.log_level, settings.log_format)
    report.rolled_back(asyncio.run(roll_back(settings)), as_json=as_json)


async def _one(settings: Settings, order_id: str) -> Mended:
    mended = await rebuild_order(settings, order_id)
    await renewed(settings, [order_id])
    return mended


async def _rebuild(source: From, settings: Settings, options: Options, stop: asyncio.Event, *, as_json: bool) -> int:
    with report.progress(as_json=as_json) as tell:
        done = await Rebuild(settings, source, options, READ_MODELS, tell, stop).run()
    return report.outcome(done, as_json=as_json)


def _from(settings: Settings, source: Source, archive: str | None, processes: int, until: datetime | None) -> From:
    if source is Source.JOURNAL:
        return FromJournal(settings, until=until)
    return FromLog(settings, archive, processes, until=until)
