"""One batch, one transaction: checkpoints, orders, ledger, read models, all or nothing.

What goes wrong is told apart here. Another writer was first: the whole batch again, carefully. PostgreSQL is away:
the whole batch again, later, for as long as it takes; if it was a COMMIT that nobody answered, the checkpoints say
whether it is in. PostgreSQL refuses a value: halves of the batch, down to the record that holds it, which goes to dead
letters. Nothing transient ever becomes a dead letter.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby

from consumer import checkpoints
from consumer.checkpoints import Hold, Move, Place
from consumer.install import NOBODYS_SHARD, stay
from consumer.projection import Outcome, Projection
from runtime.attempts import OnRetry, until_done
from runtime.failpoints import Failpoints
from runtime.postgres import leased
from schemas.connection import Connection, Pool
from schemas.errors import OutOfPlace, Unavailable, Unstorable
from schemas.events import Decoded, Event, Unreadable

Holds = dict[Place, Hold]

_ACQUIRE = 30.0  # seconds to wait for a connection; then it counts as PostgreSQL being away


class Processor:
    """Applies batches. `holds` go in as the caller's positions and come out moved on, batch by batch.

    `on_retry(error, attempt)` hears of every attempt that has to be made again.
    """

    def __init__(
        self,
        pool: Pool,
        projection: Projection,
        failpoints: Failpoints | None = None,
        on_retry: OnRetry = lambda error, attempt: None,
    ) -> None:
        self._pool = pool
        self._projection = projection
        self._failpoints = failpoints or Failpoints()
        self._on_retry = on_retry
        self._claims = Claims()

    async def process(self, items: Sequence[Decoded], holds: Holds) -> tuple[Outcome, Holds]:
        """Apply records that follow on from `holds`, in order within each partition. Without any holds they are
        applied beside the partitions: no checkpoint is asked or moved.

        Returns what became of them and where their partitions stand now. Raises OutOfPlace if a partition has
        another owner by now; then nothing of the batch is in.
        """
        async with self._claims.on({item.order_id for item in items}):
            return await self._process(items, holds)

    async def _process(self, items: Sequence[Decoded], holds: Holds) -> tuple[Outcome, Holds]:
        try:
            return await self._with_retries(items, holds)
        except Unstorable as error:
            return await self._isolated(items, holds, error)

    async def _isolated(self, items: Sequence[Decoded], holds: Holds, error: Unstorable) -> tuple[Outcome, Holds]:
        if len(items) == 1:
            return await self._with_retries([_refused(items[0], error)], holds)
        half = len(items) // 2
        first, holds = await self._process(items[:half], holds)
        second, holds = await self._process(items[half:], holds)
        return first + second, holds

    async def _with_retries(self, items: Sequence[Decoded], holds: Holds) -> tuple[Outcome, Holds]:
        batch = _Batch(items, _moves(items, holds))
        outcome = await until_done(partial(self._once, batch), self._again)
        return outcome, {**holds, **{move.place: move.done for move in batch.moves}}

    def _again(self, error: BaseException, attempt: int) -> None:
        if isinstance(error, Unavailable):
            self._projection.sources.doubt()
        self._on_retry(error, attempt)

    async def _once(self, batch: _Batch, *, careful: bool) -> Outcome:
        async with leased(self._pool, _ACQUIRE) as connection:
            await self._projection.prepare(connection, batch.items)
            await self._failpoints.reach("before_tx")
            try:
                return await self._apply(connection, batch, careful=careful)
            except OutOfPlace:
                # It may have been us: an attempt whose COMMIT was never answered, and has done it all.
                if batch.attempted is None or not await checkpoints.reached(connection, batch.moves):
                    raise
                return batch.attempted

    async def _apply(self, connection: Connection, batch: _Batch, *, careful: bool) -> Outcome:
        async with connection.transaction():
            if batch.moves:
                await checkpoints.advance(connection, batch.moves)
            else:
                await stay(connection, self._projection.models)
            await self._failpoints.reach("mid_tx")
            shard = min((move.hold.shard for move in batch.moves), default=NOBODYS_SHARD)
            outcome = await self._projection.apply(connection, batch.items, shard, careful=careful)
            await self._failpoints.reach("before_db_commit")
            batch.attempted = outcome
        await self._failpoints.reach("after_db_commit")
        return outcome


@dataclass
class _Batch:
    """Records and how far they take their partitions. `attempted` is what the last attempt that came to its COMMIT
    made of them."""

    items: Sequence[Decoded]
    moves: list[Move]
    attempted: Outcome | None = None


class Claims:
    """Orders that a batch of this process has in hand. Batches that share one take turns.

    Orders belong to partitions, so batches seldom share any; where they do (a copy sent under another key), taking
    turns is cheaper than losing the race in the database. Between processes only the database decides.
    """

    def __init__(self) -> None:
        self._held: set[str | None] = set()
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def on(self, order_ids: set[str | None]) -> AsyncIterator[None]:
        """Wait until none of these is in another's hand, then have them all: at once, so nobody waits in a circle."""
        wanted = order_ids - {None}
        async with self._freed:
            await self._freed.wait_for(lambda: self._held.isdisjoint(wanted))
            self._held |= wanted
        try:
            yield
        finally:
            self._held -= wanted
            async with self._freed:
                self._freed.notify_all()


def _moves(items: Sequence[Decoded], holds: Mapping[Place, Hold]) -> list[Move]:
    """How far each partition's checkpoint goes with these records."""
    if not holds:
        return []
    ends: dict[Place, int] = {}
    times: dict[Place, list[datetime]] = {}
    for (topic, partition), group in groupby(items, _where):  # records of a partition come in one piece, mostly
        place, run = Place(topic, partition), [*group]
        ends[place] = run[-1].record.offset + 1
        times.setdefault(place, []).extend(item.time for item in run if isinstance(item, Event))
    return [Move(place, holds[place], end, max(times[place], default=None)) for place, end in sorted(ends.items())]


def _where(item: Decoded) -> tuple[str, int]:
    return item.record.topic, item.record.partition


def _refused(item: Decoded, error: Unstorable) -> Unreadable:
    event_id = item.id if isinstance(item, Event) else None
    return Unreadable(f"PostgreSQL can't hold it (SQLSTATE {error.sqlstate})", item.order_id, event_id, item.record)
