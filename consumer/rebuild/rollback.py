"""Back to the tables from before the last swap, while the fleet runs.

The tables that were swapped out stand still. They are caught up like a shadow, by the journal's events beyond the
version at which they have each order, and swapped in the same way. What they replace can be had back by another one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

from consumer.install import STATES, check_machinery, fingerprints, makes
from consumer.read_models import READ_MODELS, ReadModel
from consumer.read_models.kinds import Stored
from consumer.rebuild import records, shadow
from consumer.rebuild.catch_up import VAIN, CatchUp
from consumer.rebuild.shadow import BEFORE, SQL
from consumer.rebuild.swap import Behind, Swap, obstacles, until_swapped
from consumer.rebuild.terms import Outcome
from runtime.failpoints import Failpoints
from runtime.settings import Settings
from runtime.sql import quoted
from schemas.connection import Connection
from schemas.errors import Refused, TryAgain

_PAUSE = 1.0  # seconds between attempts to swap


class _Cancelled(Refused):
    """Somebody has asked for an end."""


async def rollback(
    settings: Settings, models: Sequence[ReadModel] = READ_MODELS, stop: asyncio.Event | None = None
) -> Outcome:
    """Swap back. Raises Refused if there is nothing to go back to, or if other code has made it than this."""
    began = time.monotonic()
    failpoints = Failpoints(settings.failpoints)
    async with shadow.session(settings, "projector-rollback") as connection, shadow.alone(connection):
        await check_machinery(connection, models)
        before = await _swapped_out(connection, models)
        tables = list(before)
        live = await fingerprints(connection)
        changed = {name for name, make in before.items() if make is not None and live.get(name) != make}
        stored = [model for model in models if isinstance(model, Stored) and model.name in before]
        await obstacles(connection, tables, [model for model in stored if model.name in changed], models)
        number = await records.rollback(connection, tables)
        try:
            await shadow.capture(connection)
            catch_up = CatchUp(BEFORE, stored, ledger="ledger" in before)
            await connection.execute(SQL["touched_differing"].format(schema=quoted(BEFORE)))
            await _catch_up(connection, number, catch_up)
            await _look(connection, number)
            swap = Swap(
                BEFORE,
                tables,
                {name: make for name, make in before.items() if make is not None},
                [model for model in stored if model.name in changed],
                bool(changed),
                number,
                "rolled_back",
            )
            once = partial(swap.attempt, connection, catch_up, failpoints)
            in_the_way = partial(_in_the_way, connection, number, catch_up, stop or asyncio.Event())
            await until_swapped(connection, once, in_the_way)
        except BaseException as error:
            if not connection.is_closed():
                await shadow.release(connection)
                cancelled = isinstance(error, _Cancelled)
                await records.end(connection, number, "cancelled" if cancelled else "failed", str(error))
            raise
    return Outcome("swapped", tables, seconds=time.monotonic() - began)


async def _swapped_out(connection: Connection, models: Sequence[ReadModel]) -> Mapping[str, str | None]:
    """The tables to go back to, with their makes. Catching them up takes the code that made them."""
    if not await shadow.there(connection, BEFORE):
        raise Refused("there is nothing to go back to: no swap has left its old tables, or --drop-old has dropped them")
    rows = await connection.fetch(SQL["swapped_read"].format(schema=quoted(BEFORE)))
    before = {row["name"]: row["fingerprint"] for row in rows}
    ours = makes(models)
    other = [name for name, make in before.items() if make is not None and ours.get(name) != make]
    if other:
        raise Refused(
            f"{', '.join(other)} of before the swap are of another release's make: run `projector rollback` of that one"
        )
    live = await fingerprints(connection)
    for table in {STATES, *before}:
        # Where live rows are of another make, their columns may be others.
        same = table not in before or live.get(table) == before[table]
        if same and not await connection.fetchval(SQL["same_columns"], BEFORE, table):
            raise Refused(f"{table} has other columns by now than before the swap: a migration came between")
    return before


async def _catch_up(connection: Connection, number: int, catch_up: CatchUp, patience: int = VAIN) -> None:
    async def told(_: int) -> None:
        await _look(connection, number)

    await catch_up.nearer(connection, told, patience)


async def _in_the_way(
    connection: Connection, number: int, catch_up: CatchUp, stop: asyncio.Event, error: TryAgain
) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), 0 if isinstance(error, Behind) else _PAUSE)
    if stop.is_set():
        raise error
    await _look(connection, number)
    await _catch_up(connection, number, catch_up, 1 if isinstance(error, Behind) else VAIN)


async def _look(connection: Connection, number: int) -> None:
    """Has somebody asked for an end?"""
    if not await records.progress(connection, number, 0, None):
        raise _Cancelled("the rollback was cancelled; nothing was swapped")
