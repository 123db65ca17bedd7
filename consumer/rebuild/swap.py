"""The swap: in one transaction the shadow's tables take the live ones' place, at the same set of events.

Writers are kept out first, while readers go on: what they had begun is in, what is noted is folded, and both sides
stand at the same offset of every partition. Then readers are kept out too, for the milliseconds that the catalog needs.
Either wait gives up soon, since everybody else would queue behind it, and is tried again after a pause. Where more is
noted than can be folded meanwhile, what was folded stays, and writers wait a little longer the next time: so whoever
writes faster than this folds is slowed down until it has caught up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from consumer.install import STATES
from consumer.read_model_sql import TableSql, reading_of
from consumer.read_models import ReadModel
from consumer.read_models.kinds import Stored
from consumer.rebuild import records, shadow
from consumer.rebuild.catch_up import CatchUp
from consumer.rebuild.records import State
from consumer.rebuild.shadow import BEFORE, SQL
from runtime import postgres
from runtime.failpoints import Failpoints
from runtime.sql import HOME, quoted
from schemas.connection import Connection
from schemas.errors import Refused, TryAgain, Unavailable

VACUUM_WAITS = "5s"  # PostgreSQL sends an autovacuum away after 1 s; nobody queues behind this wait
WRITERS_WAIT = "400ms"  # the fleet queues behind this one: freshness suffers, reads don't
READERS_WAIT = "200ms"
HOLD = (1.0, 4.0)  # seconds of folding while writers wait, growing with every time that it was too little

_GROWTH = 1.5
_PATIENCE = 1_800.0  # seconds until a swap is given up

_MEANWHILE = "projector_swapping"
_READ_MODEL = "read_model"


class Behind(Unavailable):
    """More is noted than was folded while writers waited."""


@dataclass(frozen=True)
class Swap:
    """What takes over: `tables` from schema `source`, in these makes. What they replace goes to schema BEFORE, with the
    states for which the replaced sums stand, so that it can be caught up and swapped back.

    `views` are the read models whose view has to be made from code, since their rows are of another make.
    """

    source: str
    tables: Sequence[str]
    makes: Mapping[str, str]
    views: Sequence[Stored]
    fenced: bool  # whether rows are of another make: then workers have to look at the makes again
    number: int  # of its record
    state: State = "swapped"  # that the record has then

    async def attempt(
        self, connection: Connection, catch_up: CatchUp, failpoints: Failpoints, hold: float = HOLD[0]
    ) -> None:
        """Try once. Raises Unavailable or LostRace if somebody is in the way; then nothing has happened. Raises Behind
        if `hold` seconds don't do; then what was folded is folded."""
        async with connection.transaction():
            left = await self._aligned(connection, catch_up, failpoints, hold)
            if not left:
                await self._take_over(connection, failpoints)
        if left:
            raise Behind(f"{left} notes are left after {hold:.1f} s in which writers waited")

    async def _aligned(self, connection: Connection, catch_up: CatchUp, failpoints: Failpoints, hold: float) -> int:
        """Writers wait, and what is noted is folded; how much is left."""
        await _lock(connection, SQL["vacuum_waits"].format(relations=", ".join(self._everything)), VACUUM_WAITS)
        await _lock(connection, SQL["writers_wait"], WRITERS_WAIT)
        await failpoints.reach("rebuild_align")
        return await catch_up.rest(connection, hold)

    async def _take_over(self, connection: Connection, failpoints: Failpoints) -> None:
        views = await self._views(connection)
        relations = [f"{quoted(view['schema'])}.{quoted(view['name'])}" for view in views] + self._everything
        await self._remember(connection)
        exchange = [*await shadow.capture_drops(connection), *self._exchange(), *self._renewed(views)]
        await _lock(connection, SQL["readers_wait"].format(relations=", ".join(relations)), READERS_WAIT)
        await failpoints.reach("rebuild_swap_locked")
        # At once: readers wait, and where there is much to do each way there and back takes long.
        await connection.execute("\n".join(f"{statement.rstrip().rstrip(';')};" for statement in exchange))
        await self._from_code(connection, views)
        await failpoints.reach("rebuild_swap")

    @property
    def _everything(self) -> list[str]:
        """The live tables and those that take over, as SQL. Of the latter too: a vacuum of one, or somebody who reads
        it, would otherwise keep the exchange waiting, and with it all readers."""
        tables = sorted({STATES, *self.tables})
        return [f"{quoted(schema)}.{quoted(table)}" for schema in (HOME, self.source) for table in tables]

    async def _views(self, connection: Connection) -> list[Any]:
        await connection.fetchval(SQL["plain_path"])
        views = await connection.fetch(SQL["readers_views"], list(self.tables))
        await connection.execute(SQL["usual_path"])
        return views

    async def _remember(self, connection: Connection) -> None:
        """All that can be done while readers go on."""
        await connection.execute(SQL["schema_create"].format(schema=quoted(_MEANWHILE)))
        await connection.execute(SQL["swapped_create"].format(schema=quoted(_MEANWHILE)), list(self.tables))
        for name, make in self.makes.items():
            await connection.execute(SQL["make_set"], name, make)
        if self.fenced:
            await connection.execute(SQL["fence"], "rebuild")
        await connection.execute(SQL["touched_clear"])
        await records.end(connection, self.number, self.state)

    def _exchange(self) -> Iterator[str]:
        """The statements that put every table into the other's place."""
        for table in self.tables:
            yield _moved(table, HOME, _MEANWHILE)
            yield _moved(table, self.source, HOME)
        if STATES not in self.tables:
            yield _moved(STATES, self.source, _MEANWHILE)
        if self.source == BEFORE:
            yield SQL["schema_drop"].format(schema=quoted(BEFORE))  # what it held is live now
        yield SQL["schema_rename"].format(schema=quoted(_MEANWHILE), name=quoted(BEFORE))

    def _renewed(self, views: Sequence[Any]) -> Iterator[str]:
        """The statements by which every view that reads the tables reads those that have their names now."""
        ours = {model.name for model in self.views}
        for view in views:
            if view["schema"] != _READ_MODEL or view["name"] not in ours:
                yield view["again"]

    async def _from_code(self, connection: Connection, views: Sequence[Any]) -> None:
        """The views of what is of another make now."""
        there = {view["name"] for view in views if view["schema"] == _READ_MODEL}
        for model in self.views:
            await _view_from_code(connection, model, exists=model.name in there)


async def until_swapped(
    connection: Connection,
    once: Callable[[float], Coroutine[Any, Any, None]],
    in_the_way: Callable[[TryAgain], Coroutine[Any, Any, None]],
) -> None:
    """Try until it is done. `once(hold)` is an attempt, with seconds that writers may wait while it folds.
    `in_the_way(error)` hears of each vain one, and pauses. Raises what the last attempt failed with after _PATIENCE
    seconds: then what was built is still there."""
    began = time.monotonic()
    hold, longest = HOLD
    while True:
        try:
            with postgres.translated():
                await once(hold)
        except TryAgain as error:
            if isinstance(error, Behind):
                hold = min(hold * _GROWTH, longest)
            if connection.is_closed() or time.monotonic() - began > _PATIENCE:
                raise
            await in_the_way(error)
        else:
            return


async def obstacles(
    connection: Connection, tables: Sequence[str], changed: Sequence[Stored], models: Sequence[ReadModel]
) -> None:
    """Raise Refused if something hangs on these tables, or on the views of what has changed, that a swap would lose."""
    found = [row["obstacle"] for row in await connection.fetch(SQL["obstacles"], list(tables))]
    for model in changed:
        if not await _grows(connection, model, models):
            found += [row["obstacle"] for row in await connection.fetch(SQL["hangs_on_view"], model.name)]
    if found:
        raise Refused(f"a swap would leave behind {', '.join(found)}: drop it, and make it again afterwards")


async def _grows(connection: Connection, model: Stored, models: Sequence[ReadModel]) -> bool:
    """Whether a read model's view can be replaced by the one of this code: tried on empty tables, and taken back."""
    trying = connection.transaction()
    await trying.start()
    try:
        await connection.execute(SQL["schema_create"].format(schema=quoted(_MEANWHILE)))
        for name in (STATES, "ledger"):
            await connection.execute(await connection.fetchval(SQL["like_live"], _MEANWHILE, name))
        for stored in (one for one in models if isinstance(one, Stored)):
            await connection.execute(TableSql(stored, _MEANWHILE).create_table)
        await connection.execute(SQL["processed_events_of"].format(schema=quoted(_MEANWHILE)))
        body = reading_of(TableSql(model, _MEANWHILE).reading, models, _MEANWHILE)
        view = f"{model.name}$view"
        await connection.execute(SQL["view_create"].format(view=f"{quoted(_MEANWHILE)}.{quoted(view)}", body=body))
        return bool(await connection.fetchval(SQL["view_grows"], _MEANWHILE, view, model.name))
    finally:
        await trying.rollback()


async def _lock(connection: Connection, statement: str, patience: str) -> None:
    await connection.execute(SQL["statement_timeout"], patience)
    await connection.execute(statement)
    await connection.execute(SQL["statement_timeout"], "0")


def _moved(table: str, source: str, target: str) -> str:
    name = f"{quoted(source)}.{quoted(table)}"
    return SQL["table_to"].format(table=name, schema=quoted(target))


async def _view_from_code(connection: Connection, model: Stored, *, exists: bool) -> None:
    """The view of a read model in this code's make, with what was given to it; dropped first, where it can't just be
    replaced."""
    sql = TableSql(model)
    again = await connection.fetch(SQL["view_options"], _READ_MODEL, model.name) if exists else []
    try:
        async with connection.transaction():
            await connection.execute(sql.create_view)
    except asyncpg.InvalidTableDefinitionError:
        if not exists:
            raise
        again += await connection.fetch(SQL["grants_of_view"], _READ_MODEL, model.name)
        await connection.execute(SQL["view_drop"].format(view=sql.view))
        await connection.execute(sql.create_view)
    for statement in again:
        await connection.execute(statement[0])
