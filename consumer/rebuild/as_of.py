"""The read models as of a moment, as plain tables in a schema of their own: for an audit, or to look what was wrong.

An order is as it was after the last of its events, in version order, before one that happened later than the moment.
Nothing keeps such a copy up: what is erased afterwards is still in it, until somebody drops the schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from consumer.read_model_sql import TableSql, reading_of
from consumer.read_models import ReadModel
from consumer.read_models.kinds import Stored
from consumer.rebuild.plan import SUMMARY, TIMELINE, Plan
from consumer.rebuild.shadow import SHADOW, SQL
from runtime.sql import quoted
from schemas.connection import Connection
from schemas.errors import Refused

_KEYS = {SUMMARY: ("order_id",), TIMELINE: ("order_id", "version")}


def schema_of(until: datetime) -> str:
    """The schema of a copy, unless another is asked for: `as_of_20260301t120000z`."""
    return f"as_of_{until.astimezone(UTC):%Y%m%dt%H%M%Sz}"


async def free(connection: Connection, schema: str) -> None:
    """Raise Refused unless there is no such schema."""
    if await connection.fetchval(SQL["schema_there"], schema):
        raise Refused(f"there is a schema {schema} already: drop it, or name another one")


async def materialise(connection: Connection, plan: Plan, models: Sequence[ReadModel], schema: str) -> None:
    """Make the copy from the shadow, with the rights that others have on the read models. In one transaction."""
    async with connection.transaction():
        if plan.source == "journal":  # which has read the ledger, and not copied it
            await connection.execute(SQL["ledger_until"].format(shadow=quoted(SHADOW)))
        await connection.execute(SQL["processed_events_of"].format(schema=quoted(SHADOW)))
        await connection.execute(SQL["schema_create"].format(schema=quoted(schema)))
        for model in models:
            if isinstance(model, Stored):
                body = TableSql(model, SHADOW).reading
                keys: Sequence[str] = [column.name for column in model.keys]
            else:
                body, keys = model.view_sql() or "", _KEYS.get(model.name, ())
            table = f"{quoted(schema)}.{quoted(model.name)}"
            await connection.execute(SQL["copy_of_view"].format(table=table, body=reading_of(body, models, SHADOW)))
            if keys:
                names = ", ".join(map(quoted, keys))
                await connection.execute(SQL["key_of_copy"].format(table=table, keys=names))
            for grant in await connection.fetch(SQL["grants_of_copy"], schema, model.name):
                await connection.execute(grant[0])
        for grant in await connection.fetch(SQL["grants_of_schema"], schema):
            await connection.execute(grant[0])
