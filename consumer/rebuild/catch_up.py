"""The shadow brought to where live work stands: noted orders, folded on from the version at which the shadow has them.

What is folded are the journal's events beyond that version, whatever the bulk was read from. So it makes no difference
who wrote them: a worker, a retry, a writer that never saw Kafka. Folding an order once too often changes nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from consumer import journal, order_store
from consumer.install import NOBODYS_SHARD
from consumer.read_model_store import ProjectionFailed, ReadModelStore
from consumer.read_models.kinds import Stored
from consumer.rebuild.bulk import folded
from consumer.rebuild.shadow import SQL
from consumer.verdicts import Change
from runtime.sql import quoted
from schemas.connection import Connection
from schemas.errors import Refused
from schemas.order import OrderState

_AT_ONCE = 2_000  # notes whose orders are folded in one transaction
_NEAR = 500  # notes; once there are no more, those that come while they are folded are left to the swap
VAIN = 3  # rounds without getting nearer, until the rest is left to the swap
_STEP = 500  # notes between two looks at the clock, while writers wait


class CatchUp:
    """Applies what was noted to the shadow in `schema`, which has these read models and perhaps the ledger."""

    def __init__(self, schema: str, models: Sequence[Stored], *, ledger: bool) -> None:
        self._schema = schema
        self._ledger = ledger
        self._store = ReadModelStore(models, schema)

    async def nearer(
        self, connection: Connection, told: Callable[[int], Awaitable[None]], patience: int = VAIN
    ) -> None:
        """Fold while writers go on, until little is left, or until so many rounds have found no less than there was
        before: then writers are faster. `told` hears after each round how many notes it has folded."""
        least, vain = math.inf, 0
        while vain < patience:
            left = await self.left(connection)
            async with connection.transaction():
                taken = await self.some(connection, _AT_ONCE)
            await told(taken)
            if left < _NEAR:
                return
            least, vain = (left, 0) if left < least else (least, vain + 1)

    async def rest(self, connection: Connection, seconds: float) -> int:
        """Fold while nobody writes, in the caller's transaction, for about so long; how many notes are left."""
        end = time.monotonic() + seconds
        while await self.some(connection, _STEP):
            if time.monotonic() > end:
                return await self.left(connection)
        return 0

    async def left(self, connection: Connection) -> int:
        """How many notes there are."""
        found = await connection.fetchval(SQL["touched_count"])
        assert isinstance(found, int)
        return found

    async def some(self, connection: Connection, most: int) -> int:
        """Fold the orders of up to so many notes, in the caller's transaction; how many notes these orders had."""
        noted = await connection.fetch(SQL["touched_take"], most)
        if noted:
            await self.orders(connection, [row["order_id"] for row in noted])
        return sum(row["notes"] for row in noted)

    async def orders(self, connection: Connection, order_ids: Sequence[str]) -> None:
        """Fold these, in the caller's transaction. Raises Refused if this release can't."""
        live = await order_store.read(connection, order_ids)
        shadow = await order_store.read(connection, order_ids, schema=self._schema)
        versions = {order_id: shadow[order_id].version if order_id in shadow else 0 for order_id in order_ids}
        news = await journal.after(connection, versions)
        changes = []
        for order_id in order_ids:
            before = shadow.get(order_id) or OrderState(order_id)
            if order_id in live and live[order_id].erased:
                after = OrderState(order_id, version=live[order_id].version, erased=True)
            else:
                after = before
                for event in news.get(order_id, ()):
                    after = folded(after, event)
            if after != before:
                changes.append(Change(before, after, erased=after.erased))
        try:
            delta = self._store.derive(changes)
        except ProjectionFailed as failure:
            raise Refused(str(failure)) from None
        states = [change.after for change in changes]
        await order_store.write(connection, states, shadow.revisions, self._schema)
        await self._store.write(connection, delta, NOBODYS_SHARD)
        if self._ledger:
            await self._copy_history(connection, changes)

    async def _copy_history(self, connection: Connection, changes: Iterable[Change]) -> None:
        gone = [change.after.order_id for change in changes if change.erased]
        grown = {change.after.order_id: change.before.version for change in changes if not change.erased}
        schema = quoted(self._schema)
        await connection.execute(SQL["ledger_forget"].format(schema=schema), gone)
        await connection.execute(SQL["ledger_copy"].format(schema=schema), list(grown), list(grown.values()))
