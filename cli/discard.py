"""`projector dead-letters discard`: letters given up for good, and what that leaves parked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import orjson
import typer

from cli.letters import DRY_RUN, By, Database, Execute, Ids, Json, Unfit, Why, at_work, counted, login, plain, unfit
from consumer.discard import Discarded
from consumer.discard import discard as give_up


def discard(
    ids: Annotated[list[int], Ids],
    why: Why,
    by: By = None,
    execute: Execute = False,
    database_url: Database = None,
    as_json: Json = False,
) -> None:
    """Give letters up, for good: they can't be retried, and their events stay known (an unreadable record has none)."""
    if not why.strip() or (by is not None and not by.strip()):
        raise typer.BadParameter("--why and --by have to say something")
    done, unfit_ones = asyncio.run(_discard(database_url, ids, why.strip(), (by or login()).strip(), execute=execute))
    if as_json:
        found = [{**asdict(one), "blocks": one.blocks} for one in done]
        typer.echo(orjson.dumps({"executed": execute, "letters": found, "unfit": unfit_ones}))
    else:
        for one in done:
            _tell(one, execute)
        if not execute:
            typer.echo(DRY_RUN)
    raise typer.Exit(1 if any(one.wrong for one in unfit_ones) else 0)


async def _discard(
    database_url: str | None, ids: Sequence[int], why: str, by: str, *, execute: bool
) -> tuple[list[Discarded], list[Unfit]]:
    async with at_work(database_url) as pool:
        unfit_ones = await unfit(pool, ids, "discarded")
        for one in unfit_ones:
            typer.echo(plain(one.why), err=True)
        return await give_up(pool, ids, why=why, by=by, execute=execute), unfit_ones


def _tell(one: Discarded, execute: bool) -> None:
    order = "" if one.order_id is None else f" of order {plain(one.order_id)}"
    typer.echo(f"letter {one.letter} ({one.reason}{order}): {'' if execute else 'would be '}discarded")
    if not one.blocks:
        return
    events = counted(one.behind.parked, "event")
    if one.version is None:
        typer.echo(f"  {events} of that order stay parked, and it may be this one that they wait for")
    else:
        typer.echo(f"  {events} of that order stay parked, for version {one.version}")
    typer.echo(
        f"  another event for version {one.behind.waits_for}, with an id of its own, would free them; "
        "so would the order's erasure"
    )
