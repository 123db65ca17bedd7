"""Records of the log through the live path once more: the same decisions, the same ledger, no checkpoint.

Harmless by idempotence: what was applied, is parked or lies in dead letters is a duplicate. It puts back what is not
there though it should be: rows that were deleted by hand, records that a checkpoint was moved past.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

from consumer.install import NOBODYS_SHARD, stay
from consumer.letters import transaction
from consumer.processor import Processor
from consumer.projection import Projection
from consumer.read_models import ReadModel
from runtime.attempts import OnRetry, until_done
from schemas.connection import Pool
from schemas.errors import Unstorable
from schemas.events import Decoded, Record
from schemas.wire_batch import decode_all

_TRIES = 6  # of a batch that is only judged; one that is applied is tried for as long as it takes


class Replay:
    """Takes batches of records. Unless `execute`, each is judged in a transaction that is rolled back: as if those
    before it had not been replayed either."""

    def __init__(
        self,
        pool: Pool,
        models: Sequence[ReadModel],
        *,
        execute: bool,
        order_id: str | None = None,
        on_retry: OnRetry = lambda error, attempt: None,
    ) -> None:
        self.read = 0  # records
        self.counts: Counter[str] = Counter()  # of those that were meant, by what became of them
        self._pool = pool
        self._models = models
        self._execute = execute
        self._order_id = order_id
        self._on_retry = on_retry
        self._processor = Processor(pool, Projection(models), on_retry=on_retry)

    async def take(self, records: Sequence[Record]) -> None:
        """The next records of the slice."""
        self.read += len(records)
        items = decode_all(records)
        meant = [item for item in items if self._order_id in (None, item.order_id)]
        if meant:
            self.counts += await (self._applied(meant) if self._execute else self._judged(meant))

    async def _applied(self, items: Sequence[Decoded]) -> Counter[str]:
        outcome, _ = await self._processor.process(items, {})
        return outcome.counts

    async def _judged(self, items: Sequence[Decoded]) -> Counter[str]:
        try:
            return await until_done(partial(self._once, items), self._on_retry, tries=_TRIES)
        except Unstorable:
            if len(items) == 1:
                return Counter(unreadable=1)  # as the processor would put it
            half = len(items) // 2
            return await self._judged(items[:half]) + await self._judged(items[half:])

    async def _once(self, items: Sequence[Decoded], *, careful: bool) -> Counter[str]:
        projection = Projection(self._models)  # what it learns of sources goes with the transaction
        async with transaction(self._pool, keep=False) as connection:
            await stay(connection, self._models)
            await projection.prepare(connection, items)
            return (await projection.apply(connection, items, NOBODYS_SHARD, careful=careful)).counts
