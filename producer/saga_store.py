"""Sagas and their steps in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg
import orjson
from pydantic_core import from_json

from producer import order_json
from producer.outbox import SQL
from producer.saga import NAME, Saga, Timer
from schemas.connection import Connection
from schemas.order import OrderState


@dataclass(frozen=True)
class Taken:
    """A step that a saga took. `commands`: each with its kind and what became of it."""

    order_id: str
    cause: str
    caused_by: str
    before: str
    after: str
    commands: tuple[dict[str, Any], ...] = ()
    taken_at: datetime | None = None


class Standing(NamedTuple):
    """Where an order's saga stands: after which version, in which stage, and what falls due when."""

    version: int
    stage: str
    timer: str | None
    due_at: datetime | None


async def read(connection: Connection, order_ids: Sequence[str]) -> dict[str, Saga]:
    """The sagas of these orders, those that there are."""
    return _sagas(await connection.fetch(SQL["sagas_read"], NAME, order_ids))


async def due(connection: Connection, most: int) -> list[Saga]:
    """Sagas whose timers have fallen due."""
    return [*_sagas(await connection.fetch(SQL["sagas_due"], NAME, most)).values()]


async def next_due(connection: Connection) -> float | None:
    """Seconds until the next timer falls due, negative if one has; None if there is none."""
    found = await connection.fetchval(SQL["sagas_next_due"], NAME)
    return None if found is None else float(found)


async def write(connection: Connection, sagas: Sequence[Saga], steps: Sequence[Taken]) -> None:
    """Write where they stand and what they did. A step whose cause is known already fails (UniqueViolationError)."""
    if sagas:
        await connection.execute(
            SQL["sagas_write"],
            NAME,
            [saga.order.order_id for saga in sagas],
            [saga.order.version for saga in sagas],
            [_dumped(saga) for saga in sagas],
            [saga.timer and saga.timer.name for saga in sagas],
            [saga.timer and saga.timer.due_at for saga in sagas],
        )
    if steps:
        await connection.execute(
            SQL["saga_steps_add"],
            NAME,
            [step.order_id for step in steps],
            [step.cause for step in steps],
            [step.caused_by for step in steps],
            [step.before for step in steps],
            [step.after for step in steps],
            [orjson.dumps(step.commands).decode() for step in steps],
        )


async def history(connection: Connection, order_id: str) -> list[Taken]:
    """What was done for an order, in order."""
    return [
        Taken(
            order_id,
            row["cause"],
            row["caused_by"],
            row["before"],
            row["after"],
            tuple(orjson.loads(row["commands"])),
            row["taken_at"],
        )
        for row in await connection.fetch(SQL["saga_history"], order_id)
    ]


async def standing(connection: Connection, order_id: str) -> Standing | None:
    """Where an order's saga stands; None if there is none."""
    row = await connection.fetchrow(SQL["saga_state"], NAME, order_id)
    return None if row is None else Standing(*row.values())


def _sagas(rows: Sequence[asyncpg.Record]) -> dict[str, Saga]:
    return {row["order_id"]: _loaded(row) for row in rows}


def _loaded(row: asyncpg.Record) -> Saga:
    state = from_json(row["state"])
    timer = None if row["timer"] is None else Timer(row["timer"], row["due_at"])
    return Saga(order_json.of_object(state["order"]), state["stage"], state["failed_deliveries"], timer)


def _dumped(saga: Saga) -> str:
    """Its state; the timer has columns of its own."""
    return (
        f'{{"stage": "{saga.stage}", "failed_deliveries": {saga.failed_deliveries}, '
        f'"order": {order_json.dump(saga.order)}}}'
    )


def new(order_id: str) -> Saga:
    """A saga of an order to which nothing has happened yet."""
    return Saga(OrderState(order_id))
