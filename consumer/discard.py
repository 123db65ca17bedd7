"""Dead letters given up, by whom and why. The event of a discarded letter stays known: it never comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from consumer import letters
from consumer.letters import NOTHING_BEHIND, Behind
from consumer.verdicts import Reason
from runtime.attempts import until_done
from schemas.connection import Pool

_TRIES = 6


@dataclass(frozen=True)
class Discarded:
    """One letter given up, and what stays parked for its order."""

    letter: int
    reason: Reason
    order_id: str | None
    version: int | None
    behind: Behind

    @property
    def blocks(self) -> bool:
        """Whether it is this letter's event that they wait for. Of an unreadable one nobody knows the version."""
        return self.behind.parked > 0 and self.version in (None, self.behind.waits_for)


async def discard(pool: Pool, ids: Sequence[int], *, why: str, by: str, execute: bool) -> list[Discarded]:
    """Give up those of these letters that are open; unless `execute`, only say what that would leave."""
    return await until_done(partial(_once, pool, ids, why, by, execute), tries=_TRIES)


async def _once(pool: Pool, ids: Sequence[int], why: str, by: str, execute: bool, *, careful: bool) -> list[Discarded]:
    async with letters.transaction(pool, keep=execute) as connection:
        rows = await letters.discard(connection, ids, by, why)
        behind = await letters.behind(connection, {row["order_id"] for row in rows})
        return [
            Discarded(
                row["id"], row["reason"], row["order_id"], row["version"], behind.get(row["order_id"], NOTHING_BEHIND)
            )
            for row in sorted(rows, key=lambda row: int(row["id"]))
        ]
