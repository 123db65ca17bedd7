"""The ledger read as a journal: orders' events in version order, decoded anew (and upcast) as if they came now.

Events from here have no record: they were applied, so nothing can become of them that would need one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from runtime.sql import HOME, Queries, quoted
from schemas import payload
from schemas.connection import Connection
from schemas.errors import Refused, UnreadableEvent
from schemas.events import ADAPTERS, Event, StoredRecord

_SQL = Queries("consumer", "journal.sql")

RANGE = 25_000  # events in a range, or those of one order if it has more
_PREFETCH = 2_000  # rows

NO_RECORD = StoredRecord("", -1, -1, 0, None, None, ())


async def bounds(connection: Connection, size: int = RANGE) -> list[str]:
    """The orders with which ranges of about `size` events begin, in byte order; the first range begins with ''."""
    found: list[str] = []
    at = ""
    while (at := await connection.fetchval(_SQL["next_bound"], at, size)) is not None:
        found.append(at)
    return found


async def read(connection: Connection, first: str, end: str | None) -> AsyncIterator[Event]:
    """The events of the orders from `first` on, before `end`: by order id, then version. Inside a transaction.

    Raises Refused if this release can't read one of them.
    """
    async for row in connection.cursor(_SQL["range"], first, end, prefetch=_PREFETCH):
        yield _event(row)


async def after(connection: Connection, versions: Mapping[str, int], schema: str = HOME) -> dict[str, list[Event]]:
    """What each of these orders has beyond its version here, in version order; nothing: not in the answer. From the
    ledger in `schema`."""
    found: dict[str, list[Event]] = {}
    query = _SQL["after"].replace(f"{HOME}.ledger", f"{quoted(schema)}.ledger")
    for row in await connection.fetch(query, list(versions), list(versions.values())):
        found.setdefault(row["order_id"], []).append(_event(row))
    return found


def _event(row: Any) -> Event:
    order_id, version, uuid, plain_id, source, kind, time, text, schema_version = row
    # Not recorded: version 1, or 0 of before it was recorded, which is told by not being readable as 1.
    data, read_as = None, 1 if schema_version is None else schema_version
    if kind in ADAPTERS:
        data, read_as = _data(row, b"" if text is None else text.encode())
    return Event(source, plain_id or uuid, kind, order_id, version, time, data, text, uuid, read_as, NO_RECORD)


def _data(row: Any, raw: bytes) -> tuple[Any, int]:
    recorded = row["schema_version"]
    why = ""
    for version in (1, 0) if recorded is None else (recorded,):
        try:
            return payload.read(row["event_type"], version, raw)[0], version
        except UnreadableEvent as error:
            why = why or error.why
    event = f"the journal's event {row['version']} of order {row['order_id']}"
    raise Refused(f"{event} is not to be read by this release: {why}")
