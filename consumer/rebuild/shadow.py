"""Shadow tables: made like the live ones, in a schema of their own, where they have the same names.

`SHADOW` holds what a rebuild makes, `BEFORE` what its swap has taken out of service. While a rebuild runs, a trigger
notes every order that is written; what is noted is folded again until both sides stand at the same set of events.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from consumer.install import rebuild_lock
from consumer.read_model_sql import TableSql
from consumer.read_models.kinds import Contribution, Stored
from consumer.rebuild.plan import LEDGER, Plan
from runtime import postgres
from runtime.settings import Settings
from runtime.sql import Queries, quoted
from schemas.connection import Connection
from schemas.errors import Refused, TryAgain

SQL = Queries("consumer", "rebuild.sql")

SHADOW, BEFORE = "projector_shadow", "projector_before"

_LOCK_TIMEOUT = "200ms"  # of what others would have to wait behind
_PATIENCE = 600.0  # seconds until a lock that others hold is given up


@asynccontextmanager
async def session(settings: Settings, name: str = "projector-rebuild") -> AsyncIterator[Connection]:
    """A connection as the owner of the tables, without time limits of its own."""
    connection = await postgres.connect(settings, name)
    try:
        with postgres.translated():
            await connection.execute(SQL["no_limits"])
            if owner := await connection.fetchval(SQL["owner"]):
                await connection.execute(SQL["become"].format(owner=owner))
            yield connection
    finally:
        await connection.close(timeout=1)


@asynccontextmanager
async def alone(connection: Connection) -> AsyncIterator[None]:
    """One rebuild, or rollback, at a time. Raises Refused if another one runs."""
    async with rebuild_lock(connection) as held:
        if not held:
            raise Refused("another rebuild runs in this database; `projector rebuild --cancel` ends it")
        yield


async def patiently(
    connection: Connection,
    work: Callable[[], Coroutine[Any, Any, None]],
    *,
    lock_timeout: str = _LOCK_TIMEOUT,
    patience: float = _PATIENCE,
) -> None:
    """Do something that needs a lock which others would queue behind: in a transaction that gives up soon, and is run
    again after a pause. Raises Unavailable after `patience` seconds."""
    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type(TryAgain),
        stop=stop_after_delay(patience),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        reraise=True,
    ):
        with attempt, postgres.translated():
            async with connection.transaction():
                await connection.execute(SQL["lock_timeout"], lock_timeout)
                await work()


async def there(connection: Connection, schema: str) -> bool:
    """Does this schema exist?"""
    return bool(await connection.fetchval(SQL["schema_there"], schema))


async def tables(connection: Connection, schema: str) -> list[str]:
    """The tables that stand in a schema."""
    return [row["relname"] for row in await connection.fetch(SQL["tables_in"], schema)]


async def create(connection: Connection, plan: Plan, models: Sequence[Stored], bounds: Sequence[str]) -> None:
    """Empty shadow tables, and the ranges of orders that are to fill them. In the caller's transaction."""
    await connection.execute(SQL["schema_create"].format(schema=quoted(SHADOW)))
    for name in ("orders", *(LEDGER if plan.ledger else [])):
        await connection.execute(await connection.fetchval(SQL["like_live"], SHADOW, name))
    for model in models:
        sql = TableSql(model, SHADOW)
        like = model.name not in plan.changed and await connection.fetchval(SQL["like_live"], SHADOW, model.name)
        await connection.execute(like or sql.create_table)
        if isinstance(model, Contribution):
            await connection.execute(sql.create_stage)
    await connection.execute(SQL["parts_create"].format(schema=quoted(SHADOW)))
    starts = ["", *bounds]
    await connection.execute(
        SQL["parts_add"].format(schema=quoted(SHADOW)), list(range(len(starts))), starts, [*bounds, None]
    )


async def drop(connection: Connection, schema: str) -> None:
    """Drop a schema of ours and all that stands in it."""

    async def work() -> None:
        await connection.execute(SQL["schema_drop"].format(schema=quoted(schema)))

    await patiently(connection, work)


async def capture(connection: Connection) -> bool:
    """Note from now on which orders are written; whether that is new."""
    if await connection.fetchval(SQL["capture_there"]):
        return False

    async def work() -> None:
        await connection.execute(SQL["touched_clear"])
        await _all(connection, await connection.fetch(SQL["capture_create"]))

    await patiently(connection, work)
    return True


async def release(connection: Connection) -> None:
    """Note nothing any more. To take the triggers away needs a moment without readers: where there is none they stay,
    switched off, until the next rebuild."""

    async def switch_off() -> None:
        await _all(connection, await connection.fetch(SQL["capture_off"]))
        await connection.execute(SQL["touched_clear"])

    async def take_away() -> None:
        for statement in await capture_drops(connection):
            await connection.execute(statement)

    await patiently(connection, switch_off)
    with suppress(TryAgain):
        await patiently(connection, take_away, patience=0)


async def capture_drops(connection: Connection) -> list[str]:
    """The statements that take the triggers away."""
    return [row[0] for row in await connection.fetch(SQL["capture_drop"])]


async def index(connection: Connection, names: Iterable[str], models: Sequence[Stored]) -> None:
    """Add up the sums, and give the tables the indexes and the rights that the live ones have."""
    for model in models:
        if isinstance(model, Contribution):
            sql = TableSql(model, SHADOW)
            await connection.execute(sql.merge)
            await connection.execute(sql.drop_stage)
    for name in names:
        for row in await connection.fetch(SQL["indexes_like_live"], SHADOW, name):
            await connection.execute(row["create_index"])
            if row["add_constraint"]:
                await connection.execute(row["add_constraint"])
        for rights in ("grants_like_live", "columns_like_live"):
            await _all(connection, await connection.fetch(SQL[rights], SHADOW, name))


async def analyze(connection: Connection, names: Iterable[str]) -> None:
    """Statistics and hint bits; not in a transaction."""
    for name in names:
        await connection.execute(SQL["analyze"].format(table=f"{quoted(SHADOW)}.{quoted(name)}"))


async def _all(connection: Connection, statements: Iterable[Any]) -> None:
    for row in statements:
        await connection.execute(row[0])
