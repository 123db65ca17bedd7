"""`projector verify`: the live read models against a recomputation from the log or from the journal."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.progress import Task as ProgressTask

from cli import verify_report
from cli.letters import Brokers, Database, Json, utf8
from consumer.journal import RANGE
from consumer.verification import run
from consumer.verification.run import Plan, Source
from consumer.verification.snapshot import Sample
from runtime import logs, service
from runtime.settings import Settings, load

_SEEDS = 1_000_000  # that many to draw one from: easy to type again
_STOPPED = 130


def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Read models; all if none.")] = None,
    source: Annotated[
        Source | None,
        typer.Option(help="What to recompute from: Kafka's log, or the journal in PostgreSQL.", show_default="log"),
    ] = None,
    sample: Annotated[
        str | None, typer.Option(metavar="PERCENT", help="Only so many percent of the orders, drawn at random.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed draws the same orders.")] = None,
    order: Annotated[str | None, typer.Option(help="Only this order, from the journal.", callback=utf8)] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Events and erasures that only the database has are differences.")
    ] = False,
    limit: Annotated[int, typer.Option(min=0, help="Differences shown, of each read model.")] = 20,
    size: Annotated[int, typer.Option(min=1, help="About so many events are in memory at once.")] = RANGE,
    kafka_bootstrap_servers: Brokers = None,
    database_url: Database = None,
    as_json: Json = False,
) -> None:
    """Compare the read models, row by row, with a recomputation that shares no code with them, beside a fleet too."""
    if order is not None and (source == "log" or sample is not None):
        raise typer.BadParameter("--order looks in the journal, and takes all there is: no --source log, no --sample")
    if seed is not None and sample is None:
        raise typer.BadParameter("--seed is for --sample")
    plan = Plan(
        source or ("log" if order is None else "journal"),
        tuple(names or ()),
        None if sample is None else Sample(_percent(sample), secrets.randbelow(_SEEDS) if seed is None else seed),
        order,
        strict=strict,
        limit=limit,
        size=size,
    )
    settings = load(kafka_bootstrap_servers=kafka_bootstrap_servers, database_url=database_url)
    logs.configure(settings.log_level, settings.log_format)
    raise typer.Exit(service.run(lambda stop: _verify(settings, plan, stop, as_json=as_json)))


async def _verify(settings: Settings, plan: Plan, stop: asyncio.Event, *, as_json: bool) -> int:
    with _progress() as progress:
        verifying = asyncio.ensure_future(run.verify(settings, plan, progress=progress))
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait((verifying, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not verifying.done():  # so that its scratch files go, which hold what orders hold
            verifying.cancel()
            await asyncio.wait((verifying,))
            return _STOPPED
    findings = verifying.result()
    if as_json:
        typer.echo(verify_report.as_json(plan, findings))
    else:
        verify_report.report(Console(width=None if sys.stdout.isatty() else 160), plan, findings)
    return 1 if findings.differences else 0


def _percent(text: str) -> Decimal:
    try:
        percent = Decimal(text)
    except InvalidOperation:
        percent = Decimal(0)
    if not 0 < percent <= 100:
        raise typer.BadParameter("--sample takes a percentage above 0, up to 100")
    return percent


@contextmanager
def _progress() -> Iterator[run.Progress]:
    """A bar on stderr, if somebody looks."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done)

        yield show


class _Rate(TextColumn):
    """How many a second."""

    def __init__(self) -> None:
        super().__init__("{task.speed}")

    def render(self, task: ProgressTask) -> object:  # type: ignore[override]  # a column draws text too
        speed = task.finished_speed or task.speed
        return "" if speed is None else f"{speed:,.0f}/s"
