"""What a batch asks PostgreSQL first, and all that it writes: each in one round trip, while it is small.

A small batch takes as long as its round trips do, a large one as long as its work. So from ledger.COPIED events on
the ledger's rows go by COPY, and the tables are written one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from consumer import ledger, order_store
from consumer.ledger import SourceNumbers
from consumer.order_store import Orders
from consumer.read_model_sql import batch as batch_sql
from consumer.read_model_store import Delta, ReadModelStore
from consumer.verdicts import Identity
from runtime.packing import pack
from runtime.postgres import races_lost
from runtime.sql import Queries
from schemas.connection import Connection
from schemas.events import Event
from schemas.order import OrderState

_SQL = Queries("consumer", "queries.sql")
_ORDERS, _ENTRIES = len(order_store.COPY_COLUMNS), len(ledger.COPY_COLUMNS)


class Look(NamedTuple):
    """Orders as they stand. `pending`: some of the identities may be parked or in dead letters; `waiting`: something is
    parked for one of the orders."""

    orders: Orders
    pending: bool
    waiting: bool


async def look(
    connection: Connection, order_ids: Sequence[str], identities: Sequence[Identity], numbers: SourceNumbers
) -> Look:
    """Orders and what is known of identities, from one snapshot."""
    packed = pack([*(ledger.keys(identities, numbers) if identities else ()), order_ids])
    *keys, orders_asked = packed.columns
    uuids, sources = keys or (None, None)
    rows = await connection.fetch(_SQL["batch_look"], packed.separator, packed.null, uuids, sources, orders_asked)
    orders = Orders((row for row in rows if row["order_id"] is not None), beside=("pending", "waiting"))
    return Look(orders, rows[0]["pending"], rows[0]["waiting"])


class Writes(NamedTuple):
    """What a batch leaves behind: orders, which had these revisions when they were looked at (without one: they weren't
    there); the events that were applied; the orders whose history goes; the read models' difference."""

    states: Sequence[OrderState]
    revisions: Mapping[str, int]
    events: Sequence[Event]
    erased: Sequence[str]
    delta: Delta


class BatchStore:
    """The tables that every batch writes: orders, ledger, read models."""

    def __init__(self, models: ReadModelStore) -> None:
        self._models = models
        self._sql = batch_sql([(order_store.WRITE, _ORDERS), (ledger.APPEND, _ENTRIES)], models.tables)

    async def write(self, connection: Connection, batch: Writes, numbers: SourceNumbers, shard: int) -> None:
        """Write it all in the caller's transaction. Raises LostRace if another writer was first with anything."""
        states, revisions, events, erased, delta = batch
        # What is deleted has to be seen: after the wait for the orders' locks, so by a statement of its own.
        if len(events) >= ledger.COPIED or erased or not states:
            await order_store.write(connection, [state for state in states if state.order_id in revisions], revisions)
            await order_store.add(connection, [state for state in states if state.order_id not in revisions])
            if erased:
                await ledger.erase(connection, erased)
            await ledger.append(connection, events, numbers)
            await self._models.write(connection, delta, shard)
            return
        orders = order_store.columns(states, revisions)
        entries = ledger.columns(events, numbers)
        writing = self._models.writing(delta, shard)
        packed = pack([*orders, *entries, *writing.texts])
        texts = iter(packed.columns)
        parameters = [next(texts) for _ in orders] + [next(texts, None) if entries else None for _ in range(_ENTRIES)]
        with races_lost("ledger"):
            [counts] = await connection.fetch(
                self._sql, packed.separator, packed.null, *parameters, *self._models.parameters(writing, texts)
            )
        order_store.all_written(counts["orders"], states)
