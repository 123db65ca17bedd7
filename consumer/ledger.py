"""The ledger: which events were applied. Duplicate check, timeline and journal in one row each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from consumer.verdicts import Identity
from runtime.copying import copy
from runtime.packing import pack
from runtime.postgres import races_lost
from runtime.sql import HOME, Queries
from schemas.connection import Connection
from schemas.events import Event

_SQL = Queries("consumer", "queries.sql")

# Events from which COPY is the better insert: it costs PostgreSQL a sixth less, and two more round trips.
COPIED = 500
_MAX_SCHEMA_VERSION = 2**31 - 1  # CloudEvents' integers have 32 bits


class SourceNumbers:
    """The numbers of event sources, remembered: they never change, and there are few (some 100 bytes each).

    A source that is new gets its number in a transaction of its own: a number that a rolled-back batch remembers
    would be wrong for ever. So would one that a failover has lost, so after each outage they are asked for again.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._doubtful: set[str] = set()  # still to be had: a batch under way may be using them

    async def learn(self, connection: Connection, sources: Iterable[str]) -> None:
        """Know these sources. Not to be called inside a transaction that may roll back."""
        missing = {source for source in sources if source not in self._numbers or source in self._doubtful}
        while missing:  # a source that another worker adds meanwhile is seen by the next look
            rows = await connection.fetch(_SQL["sources_number"], sorted(missing))
            found = {row["source"]: row["source_no"] for row in rows}
            self._numbers.update(found)
            self._doubtful.difference_update(found)
            missing.difference_update(found)

    def doubt(self) -> None:
        """The server may be another one by now, that lacks what this one said last."""
        self._doubtful.update(self._numbers)

    def __getitem__(self, source: str) -> int:
        return self._numbers[source]

    def __contains__(self, source: str) -> bool:
        return source in self._numbers

    def keys_of(self, identities: Sequence[Identity]) -> tuple[list[str], list[int]]:
        """The ledger's keys as two arrays: UUIDs and source numbers."""
        return [uuid for _, uuid in identities], [self._numbers[source] for source, _ in identities]


async def known(connection: Connection, identities: Sequence[Identity], numbers: SourceNumbers) -> set[Identity]:
    """Those among the identities that were applied."""
    return await _among(connection, "ledger_known", identities, numbers)


async def pruned(connection: Connection, order_ids: Sequence[str]) -> dict[str, int]:
    """Up to which versions the history of these orders was dropped; those of which nothing was are left out."""
    rows = await connection.fetch(_SQL["pruned_among"], order_ids) if order_ids else []
    return {row["order_id"]: row["version"] for row in rows}


async def pruned_orders(connection: Connection) -> int:
    """How many orders have lost their history."""
    return int(await connection.fetchval(_SQL["pruned_any"]))


async def pending(connection: Connection, identities: Sequence[Identity], numbers: SourceNumbers) -> set[Identity]:
    """Those among the identities that are parked or in dead letters."""
    return await _among(connection, "pending_known", identities, numbers)


async def append(connection: Connection, events: Sequence[Event], numbers: SourceNumbers) -> None:
    """Enter events as applied. Raises LostRace if one of them, or its order's version, is in already; then the caller's
    transaction is to be rolled back."""
    if not events:
        return
    with races_lost("ledger"):
        if len(events) < COPIED:
            packed = pack(columns(events, numbers))
            await connection.execute(APPEND, packed.separator, packed.null, *packed.columns)
        else:
            await copy(connection, HOME, "ledger", COPY_COLUMNS, columns(events, numbers))


APPEND = _SQL["ledger_append"]


def columns(events: Sequence[Event], numbers: SourceNumbers) -> list[Sequence[str | None]]:
    """Events as the columns of APPEND, which are those of COPY_COLUMNS; of none, none."""
    if not events:
        return []
    # One zip takes all fields apart in the time that two attributes take event by event.
    sources, ids, types, order_ids, versions, times, _, texts, uuids, schema_versions, _ = zip(*events, strict=True)
    numbered = {source: str(numbers[source]) for source in set(sources)}
    return [
        uuids,
        [numbered[source] for source in sources],
        [str(version) for version in versions],
        [time.isoformat() for time in times],
        order_ids,
        types,
        [None if plain == uuid else plain for plain, uuid in zip(ids, uuids, strict=True)],
        texts,
        [None if version == 1 else str(min(version, _MAX_SCHEMA_VERSION)) for version in schema_versions],
    ]


COPY_COLUMNS = (
    "event_uuid",
    "source_no",
    "version",
    "occurred_at",
    "order_id",
    "event_type",
    "plain_id",
    "data",
    "schema_version",
)


async def erase(connection: Connection, order_ids: Sequence[str]) -> None:
    """Forget the history of orders, and all that waits or lies in dead letters for them."""
    for query in ("ledger_erase", "parked_erase", "letters_erase", "pruned_erase"):
        await connection.execute(_SQL[query], order_ids)


async def _among(
    connection: Connection, query: str, identities: Sequence[Identity], numbers: SourceNumbers
) -> set[Identity]:
    if not identities:
        return set()
    by_number = {numbers[source]: source for source in {source for source, _ in identities}}
    packed = pack(keys(identities, numbers))
    rows = await connection.fetch(_SQL[query], packed.separator, packed.null, *packed.columns)
    return {(by_number[row["source_no"]], row["event_uuid"]) for row in rows}


def keys(identities: Sequence[Identity], numbers: SourceNumbers) -> list[Sequence[str]]:
    """The ledger's keys of identities (at least one) as columns of texts: UUIDs and source numbers."""
    sources, uuids = zip(*identities, strict=True)
    numbered = {source: str(numbers[source]) for source in set(sources)}
    return [uuids, [numbered[source] for source in sources]]
