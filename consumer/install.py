"""A database made ready: the machinery's migrations, then the tables and views of the read models.

Safe to repeat and to run from many workers at once. A read model that is new in a database with orders in it is
filled from them while writers wait; one whose make has changed is reported, and waits for a rebuild.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from consumer import checkpoints, order_store
from consumer.checkpoints import Hold, Place
from consumer.read_model_sql import TableSql, view_sql
from consumer.read_model_store import ReadModelStore
from consumer.read_models import READ_MODELS, ReadModel, View
from consumer.read_models.kinds import Stored
from consumer.verdicts import Change
from runtime.sql import Queries
from schemas.connection import Connection
from schemas.errors import Refused
from schemas.migrate import migrate, pending, schema_lock
from schemas.order import FOLD, OrderState

_SQL = Queries("consumer", "queries.sql")

NOBODYS_SHARD = 0  # of no checkpoint: those who write under it wait for each other, not for workers
STATES = "orders"  # under this name the states of the fold are known, beside the read models
STATES_MAKE = f"fold {FOLD}"
_REBUILD = 4_410_927_116_832_205  # made once at random; whoever rebuilds holds it
_FILL = 5_000  # orders at a time


@dataclass(frozen=True)
class Installed:
    """What `install` did: migrations applied, read models made, and those that stand in another make."""

    migrations: list[str]
    read_models: list[str]
    outdated: list[str]


async def install(connection: Connection, models: Sequence[ReadModel] = READ_MODELS) -> Installed:
    """Bring the database to what this code needs."""
    async with schema_lock(connection), _no_rebuild(connection, models):
        migrations = await migrate(connection)
        there = await fingerprints(connection)
        made, outdated = [], []
        if there.get(STATES) != STATES_MAKE:
            if await connection.fetchval(_SQL["orders_any"]):
                outdated.append(STATES)
            else:
                await connection.execute(_SQL["installed_add"], STATES, STATES_MAKE)
        for model in models:
            if there.get(model.name) == model.fingerprint:
                continue
            if model.name in there and not isinstance(model, View):
                outdated.append(model.name)
                continue
            async with connection.transaction():
                await _make(connection, model)
            made.append(model.name)
    return Installed(migrations, made, outdated)


async def check_schema(connection: Connection) -> None:
    """Raise Refused unless the machinery's schema is current: all that looking at the machinery needs."""
    if missing := await pending(connection):
        raise Refused(f"the database lacks {', '.join(missing)}: run `projector migrate`")


async def check_machinery(connection: Connection, models: Sequence[ReadModel] = READ_MODELS) -> None:
    """Raise Refused unless the schema is current and every read model is there, in whatever make."""
    await check_schema(connection)
    there = await fingerprints(connection)
    if lacking := [model.name for model in models if model.name not in there]:
        raise Refused(f"the database lacks the read models {', '.join(lacking)}: run `projector migrate`")


async def check(connection: Connection, models: Sequence[ReadModel] = READ_MODELS) -> None:
    """Raise Refused unless the database is what this code needs to write."""
    await check_machinery(connection, models)
    there = await fingerprints(connection)
    if other := [name for name, make in makes(models).items() if there[name] != make]:
        raise Refused(f"the read models {', '.join(other)} stand in another make: run `projector rebuild --changed`")


async def take(
    connection: Connection, starts: Mapping[Place, int], owner: str, models: Sequence[ReadModel] = READ_MODELS
) -> dict[Place, Hold]:
    """Become the owner of partitions, as code that makes what stands here. Raises Refused if it doesn't.

    A swap to another make holds the checkpoints while it does it. So it came before this, and is seen; or it comes
    after, and takes the partitions away.
    """
    async with connection.transaction():
        holds = await checkpoints.take(connection, starts, owner)
        await check(connection, models)
        return holds


async def stay(connection: Connection, models: Sequence[ReadModel] = READ_MODELS) -> None:
    """The same for a transaction that writes orders without a partition: until its end nothing is swapped."""
    await connection.execute(_SQL["orders_stay"])
    await check(connection, models)


def makes(models: Sequence[ReadModel] = READ_MODELS) -> dict[str, str]:
    """The fingerprints of what this code makes: the orders' states, and each read model."""
    return {STATES: STATES_MAKE, **{model.name: model.fingerprint for model in models}}


async def fingerprints(connection: Connection) -> dict[str, str]:
    """The same of what stands in the database."""
    return {row["name"]: row["fingerprint"] for row in await connection.fetch(_SQL["installed_read"])}


@asynccontextmanager
async def rebuild_lock(connection: Connection) -> AsyncIterator[bool]:
    """One rebuild at a time, and no migration meanwhile; whether we have it. Held by the session, so a killed process
    lets go of it."""
    held = bool(await connection.fetchval(_SQL["rebuild_lock"], _REBUILD))
    try:
        yield held
    finally:
        if held and not connection.is_closed():
            await connection.execute(_SQL["rebuild_unlock"], _REBUILD)


@asynccontextmanager
async def _no_rebuild(connection: Connection, models: Sequence[ReadModel]) -> AsyncIterator[None]:
    """Raise Refused if there is something to do and a rebuild runs: it would swap in tables of the old schema."""
    async with rebuild_lock(connection) as free:
        if not free:
            missing = await pending(connection)
            there = {} if missing else await fingerprints(connection)
            if missing or any(model.name not in there for model in models):
                raise Refused("a rebuild runs in this database: wait for its end, or `projector rebuild --cancel`")
        yield


async def _make(connection: Connection, model: ReadModel) -> None:
    if isinstance(model, Stored):
        sql = TableSql(model)
        await connection.execute(_SQL["orders_still"])
        await connection.execute(sql.create_table)
        await connection.execute(sql.create_view)
        await _fill(connection, model)
    else:
        await connection.execute(view_sql(model.name, model.view_sql() or ""))
    await connection.execute(_SQL["installed_add"], model.name, model.fingerprint)


async def _fill(connection: Connection, model: ReadModel) -> None:
    store = ReadModelStore([model])
    batch: list[str] = []
    async for row in connection.cursor(_SQL["orders_placed"], prefetch=_FILL):
        batch.append(row["order_id"])
        if len(batch) == _FILL:
            await _fill_from(connection, store, batch)
            batch = []
    await _fill_from(connection, store, batch)


async def _fill_from(connection: Connection, store: ReadModelStore, order_ids: Sequence[str]) -> None:
    orders = await order_store.read(connection, order_ids)
    changes = [Change(OrderState(order_id), order) for order_id, order in orders.items()]
    await store.write(connection, store.derive(changes), NOBODYS_SHARD)
