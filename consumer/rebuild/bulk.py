"""The bulk: a range of orders folded in memory, and its rows copied into tables that have no index yet.

A range is a transaction of its own, with the note that it is done; so a rebuild that was killed goes on behind it. No
snapshot is shared between ranges: an order that is written after its range was read is noted by the trigger.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from consumer import journal, ledger, order_store
from consumer.ledger import SourceNumbers
from consumer.read_model_sql import TableSql
from consumer.read_model_store import ProjectionFailed, add_shares
from consumer.read_models.kinds import Contribution, Document, Stored
from consumer.rebuild.parts import Part
from consumer.rebuild.shadow import SHADOW, SQL
from runtime.copying import copy
from runtime.sql import quoted
from schemas.connection import Connection
from schemas.errors import InvalidHistory, Refused
from schemas.events import Event
from schemas.order import OrderState, evolve


class Rows:
    """The rows of some orders, to be copied into the shadow's tables. Documents and sums are made by the read models'
    own code; what that raises ends the rebuild, and names the order."""

    def __init__(self, models: Sequence[Stored], numbers: SourceNumbers | None = None) -> None:
        """`numbers` of the sources of events that are entered."""
        self._numbers = numbers or SourceNumbers()
        self._documents = {model.name: (model, TableSql(model)) for model in models if isinstance(model, Document)}
        self._sums = {model.name: (model, TableSql(model)) for model in models if isinstance(model, Contribution)}
        self._orders: list[OrderState] = []
        self._events: list[Event] = []
        self._rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in self._documents}
        self._shares: dict[str, dict[tuple[Any, ...], list[int]]] = {name: {} for name in self._sums}

    def add(self, state: OrderState) -> None:
        """An order's state, and what follows from it."""
        self._orders.append(state)
        if state.placed_at is None:
            return
        try:
            for name, (document, sql) in self._documents.items():
                row = document.row(state)
                if row is not None:
                    self._rows[name].append((state.order_id, *(row[column] for column in sql.names[1:])))
            for name, (contribution, _) in self._sums.items():
                add_shares(self._shares[name], contribution, state, 1)
        except Exception as error:
            raise Refused(f"order {state.order_id}: {ProjectionFailed(name, error)}") from None

    def take_back(self, state: OrderState) -> None:
        """What an order's state has given to sums."""
        if state.placed_at is not None:
            for name, (contribution, _) in self._sums.items():
                add_shares(self._shares[name], contribution, state, -1)

    def enter(self, events: Sequence[Event]) -> None:
        """An order's events, for the ledger."""
        self._events += events

    async def copy(self, connection: Connection) -> None:
        """Write it all, in the caller's transaction."""
        await copy(connection, SHADOW, "orders", order_store.COPY_COLUMNS, order_store.first_columns(self._orders))
        await copy(connection, SHADOW, "ledger", ledger.COPY_COLUMNS, ledger.columns(self._events, self._numbers))
        for name, (_, sql) in self._documents.items():
            await copy(connection, SHADOW, name, sql.names, sql.columns(self._rows[name]))
        for name, (_, sql) in self._sums.items():
            rows = [(*key, *shares) for key, shares in self._shares[name].items()]
            await copy(connection, SHADOW, sql.stage, sql.names, sql.columns(rows))


async def erased(connection: Connection, first: str, end: str | None) -> dict[str, int]:
    """The erased orders of a range, with the version at which each was. No source may bring one back."""
    rows = await connection.fetch(SQL["erased_in"], first, end)
    return {row["order_id"]: row["version"] for row in rows}


async def done(connection: Connection, part: int, events: int) -> None:
    """Note, in the range's own transaction, that it is done."""
    await connection.execute(SQL["parts_done"].format(schema=quoted(SHADOW)), part, events)


async def from_journal(connection: Connection, models: Sequence[Stored], part: Part, until: datetime | None) -> int:
    """Fold a range of the journal into the shadow; how many events it has. `until`: leave out what happened later, and
    what follows on it.

    Raises Refused if the journal lacks some of an order's events, or if this release can't read or fold one.
    """
    rows, events = Rows(models), 0
    async with connection.transaction():
        gone = await erased(connection, part.first, part.end)
        state: OrderState | None = None
        over = ""  # the order that has come to `until`
        async for event in journal.read(connection, part.first, part.end):
            events += 1
            if event.order_id in gone or event.order_id == over:
                continue
            if until is not None and event.time > until:
                over = event.order_id
                continue
            if state is None or state.order_id != event.order_id:
                if state is not None:
                    rows.add(state)
                state = OrderState(event.order_id)
            state = folded(state, event)
        if state is not None:
            rows.add(state)
        for order_id, version in gone.items():
            rows.add(OrderState(order_id, version=version, erased=True))
        await rows.copy(connection)
        await done(connection, part.number, events)
    return events


def folded(state: OrderState, event: Event) -> OrderState:
    """The state after an event of the journal. Raises Refused where there is a hole before it, or where the fold
    refuses what it took once."""
    where = f"the journal's event {event.version} of order {event.order_id}"
    if event.version != state.version + 1:
        raise Refused(f"{where} follows on {state.version}: the journal doesn't hold the whole history")
    try:
        return evolve(state, event)
    except InvalidHistory as refusal:
        raise Refused(f"{where} is refused by this release: {refusal.why}") from None
