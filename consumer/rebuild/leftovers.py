"""What rebuilds leave behind, dropped on purpose: a shadow that nobody wants any more, tables that were swapped out."""

from __future__ import annotations

from typing import Literal

from consumer.install import check_schema, rebuild_lock
from consumer.rebuild import records, shadow
from consumer.rebuild.shadow import BEFORE, SHADOW, SQL
from runtime.settings import Settings
from runtime.sql import quoted


async def cancel(settings: Settings) -> Literal["asked", "dropped"] | None:
    """End the rebuild that runs (it does so soon), or drop what one has left; None if there is neither."""
    async with shadow.session(settings) as connection:
        await check_schema(connection)
        async with rebuild_lock(connection) as free:
            if not free:
                return "asked" if await records.cancel(connection) else None
            found = await records.last(connection)
            await records.lost(connection)
            captured = await connection.fetchval(SQL["capture_any"])
            if found is None and not captured and not await shadow.there(connection, SHADOW):
                return None
            await shadow.release(connection)
            await shadow.drop(connection, SHADOW)
            if found is not None:
                await records.end(connection, found.number, "cancelled")
            return "dropped"


async def drop_old(settings: Settings) -> list[str]:
    """Drop what the last swap has taken out of service; the tables' names."""
    async with shadow.session(settings) as connection, shadow.alone(connection):
        await check_schema(connection)
        if not await shadow.there(connection, BEFORE):
            return []
        names = [row["name"] for row in await connection.fetch(SQL["swapped_read"].format(schema=quoted(BEFORE)))]
        await shadow.drop(connection, BEFORE)
        return names
