"""`projector dead-letters retry`: letters applied after all, and what is parked behind them, in version order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import orjson
import typer

from cli.letters import (
    DRY_RUN,
    ByOrder,
    ByReason,
    ByType,
    Database,
    Execute,
    Ids,
    Json,
    Unfit,
    at_work,
    counted,
    login,
    plain,
    unfit,
)
from consumer.cache.marks import renewed
from consumer.letters import Selection
from consumer.projection import Projection
from consumer.read_models import READ_MODELS
from consumer.redelivery import Fate, Redelivery, Retried
from runtime.settings import load

_SAID = {
    "applied": "applied",
    "parked": "parked, until its turn comes",
    "duplicate": "a duplicate: its event is known already",
    "erased": "gone: its order is erased",
}


def retry(
    ids: Annotated[list[int] | None, Ids] = None,
    reason: ByReason = None,
    order: ByOrder = None,
    event_type: ByType = None,
    every: Annotated[bool, typer.Option("--all", help="Every open letter.")] = False,
    execute: Execute = False,
    database_url: Database = None,
    as_json: Json = False,
) -> None:
    """Apply letters and what is parked behind them, an order in a transaction. Those that fit all that is given."""
    if not (ids or reason or order or event_type or every):
        raise typer.BadParameter("say which letters: ids, --reason, --order, --type or --all")
    wanted = Selection(tuple(ids) if ids else None, reason, order, event_type)
    done, unfit_ones = asyncio.run(_retry(database_url, wanted, execute=execute, as_json=as_json))
    clean = all(one.clean for one in done) and not any(one.wrong for one in unfit_ones)
    if as_json:
        typer.echo(orjson.dumps({"executed": execute, "clean": clean, "orders": done, "unfit": unfit_ones}))
    else:
        _sum_up(done, execute)
    raise typer.Exit(0 if clean else 1)


async def _retry(
    database_url: str | None, wanted: Selection, *, execute: bool, as_json: bool
) -> tuple[list[Retried], list[Unfit]]:
    async with at_work(database_url) as pool:
        unfit_ones = await unfit(pool, wanted.ids or (), "retried")
        for one in unfit_ones:
            typer.echo(plain(one.why), err=True)
        redelivery = Redelivery(pool, lambda: Projection(READ_MODELS), login(), execute=execute, on_retry=_again)
        done = []
        async for one_order in redelivery.run(wanted):
            done.append(one_order)
            if not as_json:
                _tell(one_order, execute)
        if execute:
            changed = [one.order_id for one in done if one.applied and one.order_id is not None]
            await renewed(load(database_url=database_url), changed)
        return done, unfit_ones


def _again(error: BaseException, attempt: int) -> None:
    typer.echo(f"projector: {error}; again", err=True)


def _tell(one: Retried, execute: bool) -> None:
    name = "no order" if one.order_id is None else f"order {plain(one.order_id)}"
    if one.failed:
        typer.echo(f"{name}: failed: {one.failed}; {counted(len(one.unreached), 'letter')} as before")
        if not one.letters:
            return
    stays = (
        f"; {counted(one.behind.parked, 'event')} parked for version {one.behind.waits_for}"
        if one.behind.parked
        else ""
    )
    typer.echo(f"{name}: {counted(one.applied, 'event')} {'' if execute else 'would be '}applied{stays}")
    for fate in one.letters:
        typer.echo(f"  letter {fate.letter}: {_said(fate)}")
    for new in one.refused:
        event = f"event {plain(new.event_id)} at version {new.version}"
        typer.echo(f"  a new letter: {event}: {new.reason}: {plain(new.error)}")


def _said(fate: Fate) -> str:
    if fate.becomes == "refused":
        return f"still refused: {fate.reason}: {plain(fate.error)}"
    return _SAID[fate.becomes]


def _sum_up(done: Sequence[Retried], execute: bool) -> None:
    fates = [fate for one in done for fate in one.letters]
    refused = sum(fate.becomes == "refused" for fate in fates)
    unreached = sum(len(one.unreached) for one in done)
    resolved = "resolved" if execute else "would be resolved"
    typer.echo(
        f"{counted(len(fates) + unreached, 'letter')}: {len(fates) - refused} {resolved}, "
        f"{refused + unreached} still open"
    )
    if not execute:
        typer.echo(DRY_RUN)
