"""What `projector.rebuilds` says of a rebuild: so that it can be watched, cancelled, and gone on with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from consumer.rebuild.plan import Plan
from consumer.rebuild.shadow import SHADOW, SQL, there
from schemas.connection import Connection

Phase = Literal["read", "bulk", "catch_up", "compare", "swap"]
State = Literal["swapped", "copied", "rolled_back", "kept", "failed", "cancelled"]


@dataclass(frozen=True)
class Last:
    """The last rebuild that has left something: it runs, or its process was killed, or it has kept its shadow."""

    number: int
    state: str
    phase: Phase
    plan: dict[str, Any]
    events: int


async def last(connection: Connection) -> Last | None:
    """The last one whose shadow is there."""
    row = await connection.fetchrow(SQL["record_last"])
    if row is None or not await there(connection, SHADOW):
        return None
    return Last(row["id"], row["state"], row["phase"], json.loads(row["plan"]), row["events"])


async def begin(connection: Connection, plan: Plan, phase: Phase) -> int:
    """A rebuild begins; its number."""
    number = await connection.fetchval(
        SQL["record_begin"], plan.names, plan.source, phase, json.dumps(plan.as_json(), sort_keys=True)
    )
    assert isinstance(number, int)
    await lost(connection, number)
    await connection.execute(SQL["record_superseded"], number)
    return number


async def rollback(connection: Connection, tables: Sequence[str]) -> int:
    """A rollback begins; its number."""
    number = await connection.fetchval(SQL["record_rollback"], list(tables))
    assert isinstance(number, int)
    await lost(connection, number)
    return number


async def lost(connection: Connection, number: int | None = None) -> None:
    """All others that say that they run don't: whoever says this is alone."""
    await connection.execute(SQL["record_lost"], number)


async def again(connection: Connection, number: int) -> None:
    """It goes on."""
    await lost(connection, number)
    await connection.execute(SQL["record_again"], number)


async def phase(connection: Connection, number: int, name: Phase) -> None:
    """It has come this far."""
    await connection.execute(SQL["record_phase"], number, name)


async def progress(connection: Connection, number: int, events: int, expected: int | None) -> bool:
    """So many events are folded; whether it may go on (nobody has cancelled it)."""
    return bool(await connection.fetchval(SQL["record_progress"], number, events, expected) == "running")


async def end(connection: Connection, number: int, state: State, error: str | None = None) -> None:
    """It has ended."""
    await connection.execute(SQL["record_end"], number, state, error)


async def cancel(connection: Connection) -> bool:
    """Ask the one that runs to end; whether there is one."""
    return await connection.fetchval(SQL["record_cancel"]) is not None
