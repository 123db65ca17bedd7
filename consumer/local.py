"""Local-first: events into the read models in the transaction that makes them, by the processor's own path.

The copy that comes back from Kafka is a duplicate by its id. An event whose predecessors are still on their way is
parked like any other, unless whoever made it has them at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from consumer import order_store
from consumer.install import stay
from consumer.projection import Projection
from consumer.read_models import READ_MODELS, ReadModel
from schemas.connection import Connection
from schemas.events import Event

# Sums of those who write beside the partitions: as many shards as it takes for commands on the same customer or product
# not to wait for each other's commit. Below 0, since partitions have those above it.
_SHARDS = 16


class LocalProjection:
    """What a command handler is given so that its events change the read models at once."""

    def __init__(self, models: Sequence[ReadModel] = READ_MODELS) -> None:
        self._projection = Projection(models)
        self._random = Random()  # noqa: S311  spreading, not secrecy

    async def prepare(self, connection: Connection, source: str) -> None:
        """To be called before the transaction: what has to outlive its rollback."""
        await self._projection.sources.learn(connection, [source])

    def doubt(self) -> None:
        """PostgreSQL was away, and may be another server by now."""
        self._projection.sources.doubt()

    async def apply(self, connection: Connection, events: Sequence[Event], *, careful: bool) -> int:
        """Apply an order's events in the caller's transaction; the version at which its read models stand then.

        Raises LostRace if another writer was first: roll back and call again, careful.
        """
        await stay(connection, self._projection.models)
        shard = -1 - self._random.randrange(_SHARDS)
        outcome = await self._projection.apply(connection, events, shard, careful=careful)
        order_id = events[0].order_id
        if order_id in outcome.orders:
            return outcome.orders[order_id]
        states = await order_store.read(connection, [order_id])
        return states[order_id].version if order_id in states else 0
