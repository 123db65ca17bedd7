"""A rebuild from the journal: the ledger's events, read in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from consumer import journal, ledger
from consumer.read_models.kinds import Stored
from consumer.rebuild import bulk, shadow
from consumer.rebuild.parts import Part
from consumer.rebuild.plan import Plan, Source
from runtime.settings import Settings
from schemas.connection import Connection
from schemas.errors import Refused


@dataclass(frozen=True)
class FromJournal:
    """The journal as a source; `size` is how many events a range has, about. `until`: as of that moment."""

    settings: Settings
    size: int = journal.RANGE
    until: datetime | None = None
    source: Source = "journal"

    async def preflight(self, connection: Connection) -> None:
        """Refused if histories were dropped. Whether an order's is whole shows as it is folded."""
        if dropped := await ledger.pruned_orders(connection):
            raise Refused(f"the journal lacks the history of {dropped} orders: rebuild from the log or an archive")

    async def bounds(self, connection: Connection) -> list[str]:
        return await journal.bounds(connection, self.size)

    def job(self, plan: Plan, models: Sequence[Stored]) -> JournalJob:
        return JournalJob(self.settings, tuple(models), self.until)

    async def read(self, connection: Connection, parts: Sequence[Part], tell: Callable[[int, int], None]) -> None:
        """Nothing: each range reads its own."""

    def close(self) -> None:
        """Nothing is set aside."""


@dataclass(frozen=True)
class JournalJob:
    """Builds a range from the journal, over a connection of its own."""

    settings: Settings
    models: tuple[Stored, ...]
    until: datetime | None

    async def build(self, part: Part) -> int:
        async with shadow.session(self.settings) as connection:
            return await bulk.from_journal(connection, self.models, part, self.until)
