"""Dead letters as people handle them: found, shown, taken up again, given up."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import asyncpg
import orjson

from consumer.pending import stored
from consumer.verdicts import Reason
from runtime.postgres import affected, leased
from runtime.sql import Queries
from schemas.connection import Connection, Pool
from schemas.errors import LostRace
from schemas.events import Decoded, Event
from schemas.wire import decode

_SQL = Queries("consumer", "letters.sql")

_PAGE = 20  # letters read at a time: each may hold a record of a megabyte, or of as many as the broker takes
ACQUIRE = 30.0  # seconds to wait for a connection; then it counts as PostgreSQL being away


@dataclass(frozen=True)
class Selection:
    """Which letters are meant: all that fit everything that is given."""

    ids: tuple[int, ...] | None = None
    reason: Reason | None = None
    order_id: str | None = None
    event_type: str | None = None

    def takes(self, letter: OpenLetter) -> bool:
        """Whether it is meant. Its order and type are those on record, or those that its record reads as now."""
        return (
            self.reason in (None, letter.reason)
            and self.order_id in (None, letter.noted_order, letter.item.order_id)
            and self.event_type in (None, letter.noted_type, *_type(letter.item))
        )


class OpenLetter(NamedTuple):
    """A letter that nobody has resolved, its record decoded anew."""

    id: int
    reason: Reason
    noted_order: str | None
    noted_type: str | None
    item: Decoded

    @property
    def order_id(self) -> str | None:
        """The order that its record names now; if it names none, the one on record."""
        return self.noted_order if self.item.order_id is None else self.item.order_id


class State(NamedTuple):
    """How a letter stands: `resolution` is None while it is open."""

    resolution: str | None
    by: str | None
    note: str | None


@dataclass(frozen=True)
class Behind:
    """How many events are parked for an order, and the version that they wait for."""

    parked: int = 0
    waits_for: int | None = None


NOTHING_BEHIND = Behind()


@asynccontextmanager
async def transaction(pool: Pool, *, keep: bool) -> AsyncIterator[Connection]:
    """A transaction for work on letters: unless it is to be kept it is rolled back at its end, and was a dry run."""
    async with leased(pool, ACQUIRE) as connection:
        begun = connection.transaction()
        await begun.start()
        try:
            yield connection
        except BaseException:
            await begun.rollback()
            raise
        await (begun.commit() if keep else begun.rollback())


async def find(
    connection: Connection, selection: Selection, *, resolved_too: bool = False, most: int = 50
) -> list[dict[str, Any]]:
    """The newest letters, without their bytes. Not by id: those are shown."""
    asked = (selection.reason, selection.order_id, selection.event_type)
    return [dict(row) for row in await connection.fetch(_SQL["letters_list"], *asked, resolved_too, most)]


async def show(connection: Connection, letter: int) -> dict[str, Any] | None:
    """One letter, whole: key and value as text where they are text, else in base64."""
    row = await connection.fetchrow(_SQL["letters_show"], letter)
    if row is None:
        return None
    found = dict(row)
    found["headers"] = orjson.loads(found["headers"])
    for name in ("key", "value"):
        found |= _readable(name, found.pop(name))
    return found


async def states(connection: Connection, ids: Sequence[int]) -> dict[int, State]:
    """How those of these letters stand that exist."""
    rows = await connection.fetch(_SQL["letters_states"], ids)
    return {row["id"]: State(_resolution(row), row["resolved_by"], row["resolution_note"]) for row in rows}


async def selected(connection: Connection, selection: Selection) -> AsyncIterator[OpenLetter]:
    """The open letters that are meant, the oldest first, a few in memory at a time."""
    pages = _by_page(connection, selection) if selection.ids is None else _by_id(connection, selection.ids)
    async for letter in pages:
        if selection.takes(letter):
            yield letter


async def open_among(connection: Connection, ids: Sequence[int]) -> list[OpenLetter]:
    """Those of these letters that are open."""
    return [_open(row) for row in await connection.fetch(_SQL["letters_open"], ids)]


async def behind(connection: Connection, order_ids: Iterable[str | None]) -> dict[str | None, Behind]:
    """What waits for those of these orders that exist."""
    named = [order_id for order_id in order_ids if order_id is not None]
    rows = await connection.fetch(_SQL["orders_behind"], named)
    return {row["order_id"]: Behind(row["parked"], row["next_version"]) for row in rows if row["parked"]}


async def discard(connection: Connection, ids: Sequence[int], by: str, why: str) -> list[asyncpg.Record]:
    """Give up those of these letters that are open: their ids, reasons, orders and versions."""
    return await connection.fetch(_SQL["letters_discard"], ids, by, why)


async def take(connection: Connection, letters: Sequence[OpenLetter], by: str) -> None:
    """Mark letters as retried: their events are no longer known by them. Raises LostRace if one is open no more.

    Whatever of them is refused in the same transaction is open again (`consumer.pending.bury`).
    """
    rows = [(letter.id, letter.order_id, *_names(letter.item)) for letter in letters]
    taken = await connection.execute(_SQL["letters_take"], *map(list, zip(*rows, strict=True)), by)
    if affected(taken) != len(letters):
        raise LostRace("somebody else resolved one of these letters")


async def failed(connection: Connection, ids: Sequence[int], error: str) -> None:
    """One more attempt came to nothing, and has changed nothing else."""
    await connection.execute(_SQL["letters_failed"], ids, error)


async def note(connection: Connection, notes: Mapping[int, str]) -> None:
    """What became of letters that were retried."""
    if notes:
        await connection.execute(_SQL["letters_note"], list(notes), list(notes.values()))


async def forget(connection: Connection, ids: Sequence[int]) -> None:
    """Letters of an erased order leave nothing."""
    if ids:
        await connection.execute(_SQL["letters_forget"], ids)


async def _by_page(connection: Connection, selection: Selection) -> AsyncIterator[OpenLetter]:
    asked = (selection.reason, selection.order_id, selection.event_type)
    last = 0
    while rows := await connection.fetch(_SQL["letters_page"], last, *asked, _PAGE):
        for row in rows:
            yield _open(row)
        last = rows[-1]["id"]


async def _by_id(connection: Connection, ids: Sequence[int]) -> AsyncIterator[OpenLetter]:
    wanted = sorted(set(ids))
    for first in range(0, len(wanted), _PAGE):
        for letter in await open_among(connection, wanted[first : first + _PAGE]):
            yield letter


def _open(row: Any) -> OpenLetter:
    return OpenLetter(row["id"], row["reason"], row["order_id"], row["event_type"], decode(stored(row)))


def _names(item: Decoded) -> tuple[str | None, str | None, str | None, int | None]:
    """(event id, source, type, version), as far as the record says."""
    if isinstance(item, Event):
        return item.id, item.source, item.type, item.version
    return None, None, None, None


def _type(item: Decoded) -> tuple[str, ...]:
    return (item.type,) if isinstance(item, Event) else ()


def _resolution(row: Any) -> str | None:
    """`retried`, `discarded`, or, of a letter that somebody resolved by hand, `resolved`."""
    return row["resolution"] or (None if row["resolved_at"] is None else "resolved")


def _readable(name: str, value: bytes | None) -> dict[str, str | None]:
    if value is None:
        return {name: None}
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value).decode()}
