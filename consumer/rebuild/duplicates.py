"""An event that orders of different ranges claim: the same source and id, sent for two of them.

A range can't know what another one has, so the index that forbids it finds it out, as it does for live work. The order
for which live work has applied the event keeps it; for the others it is a duplicate, and they end before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from consumer import journal, order_store
from consumer.read_models.kinds import Document, Stored
from consumer.rebuild.bulk import Rows
from consumer.rebuild.shadow import SHADOW, SQL
from runtime.sql import quoted
from schemas.connection import Connection
from schemas.order import OrderState, evolve


async def settle(connection: Connection, models: Sequence[Stored]) -> int:
    """Leave every event to one order, in the caller's transaction; how many orders have lost one. For tables that have
    no index yet, and sums that are not added up yet."""
    schema = quoted(SHADOW)
    losers = {row["order_id"]: row["version"] for row in await connection.fetch(SQL["rivals"].format(schema=schema))}
    before = await order_store.read(connection, losers, schema=SHADOW)
    events = await journal.after(connection, dict.fromkeys(losers, 0), SHADOW)
    rows = Rows(models)
    for order_id, version in losers.items():
        kept = [event for event in events[order_id] if event.version < version]
        rows.take_back(before[order_id])
        if kept:
            rows.add(reduce(evolve, kept, OrderState(order_id)))
    await connection.execute(SQL["history_cut"].format(schema=schema), list(losers), list(losers.values()))
    for table in ("orders", *(model.name for model in models if isinstance(model, Document))):
        await connection.execute(SQL["orders_out"].format(table=f"{schema}.{quoted(table)}"), list(losers))
    await rows.copy(connection)
    return len(losers)
