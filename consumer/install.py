"""A database made ready: the machinery's migrations, then the tables and views of the read models.

Safe to repeat and to run from many workers at once. A read model that is new in a database with orders in it is
filled from them while writers wait; one whose make has changed is reported, and waits for a rebuild.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from consumer import order_store
from consumer.order import OrderState
from consumer.read_model_sql import TableSql, view_sql
from consumer.read_model_store import ReadModelStore
from consumer.read_models import READ_MODELS, ReadModel, View
from consumer.read_models.kinds import Stored
from consumer.verdicts import Change
from runtime.sql import Queries
from schemas.connection import Connection
from schemas.errors import Refused
from schemas.migrate import migrate, pending, schema_lock

_SQL = Queries("consumer", "queries.sql")

NOBODYS_SHARD = 0  # of no checkpoint: those who write under it wait for each other, not for workers
_FILL = 5_000  # orders at a time


@dataclass(frozen=True)
class Installed:
    """What `install` did: migrations applied, read models made, and those that stand in another make."""

    migrations: list[str]
    read_models: list[str]
    outdated: list[str]


async def install(connection: Connection, models: Sequence[ReadModel] = READ_MODELS) -> Installed:
    """Bring the database to what this code needs."""
    async with schema_lock(connection):
        migrations = await migrate(connection)
        there = await _fingerprints(connection)
        made, outdated = [], []
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


async def check(connection: Connection, models: Sequence[ReadModel] = READ_MODELS) -> None:
    """Raise Refused unless the database is what this code needs to write."""
    await check_schema(connection)
    there = await _fingerprints(connection)
    if lacking := [model.name for model in models if model.name not in there]:
        raise Refused(f"the database lacks the read models {', '.join(lacking)}: run `projector migrate`")
    if other := [model.name for model in models if there[model.name] != model.fingerprint]:
        raise Refused(f"the read models {', '.join(other)} stand in another make: run `projector rebuild`")


async def _fingerprints(connection: Connection) -> dict[str, str]:
    return {row["name"]: row["fingerprint"] for row in await connection.fetch(_SQL["installed_read"])}


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
