"""One moment of the database, and what is read of it: for as long as a verification takes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, NamedTuple

import asyncpg
from aiokafka import TopicPartition

from consumer import journal, order_store
from consumer.install import check
from consumer.pending import stored
from consumer.proof import as_read
from consumer.read_models import ReadModel
from consumer.spill import Ranges
from consumer.verification.arrivals import Arrival, Identity, Live, Note, Row, Said
from runtime import postgres
from runtime.settings import Settings
from runtime.sql import Queries, quoted
from schemas.connection import Connection
from schemas.events import Event
from schemas.identity import event_uuid
from schemas.order import OrderState
from schemas.wire import decode

_SQL = Queries("consumer", "verification.sql")

_PATIENT = {
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "tcp_keepalives_idle": "60",
    "enable_seqscan": "off",
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",
}
_MACHINERY = ("ledger", "event_sources", "orders", "parked_events", "dead_letters", "checkpoints", "pruned_orders")
_PAGE = 1_000  # letters, or rows of a whole read model, at a time
_STATES = 5_000  # orders' states at a time
_ALL = 2**32  # what a hash is below
_CLOSE = 1.0  # seconds to say goodbye
_NOT_TO_BE_READ = "?"  # for the type of a parked event that this release can't read: it waits like any other


class Sample(NamedTuple):
    """Orders drawn by a hash of their id: the same ones for the same seed, from the log and in the database."""

    percent: Decimal
    seed: int

    @property
    def salt(self) -> str:
        return f"{self.seed}:"

    @property
    def below(self) -> int:
        return int(_ALL * self.percent / 100)


class Span(NamedTuple):
    """Orders from `first` on, before `end` (None: to the last); with `ids` only those."""

    first: str = ""
    end: str | None = None
    ids: tuple[str, ...] | None = None


class Letter(NamedTuple):
    """A letter on its place in a partition; `digest` is that of the record's value."""

    offset: int
    number: int
    digest: str
    note: Note


class Snapshot:
    """Reads. Raises Unavailable when the connection is lost: then all has to be begun again."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def pruned(self, order_id: str | None) -> int:
        """Of how many orders, or of this one, the history was dropped."""
        return int((await self._fetch("pruned", order_id))[0][0])

    async def checkpoints(self, topics: Sequence[str]) -> tuple[dict[TopicPartition, int], list[str]]:
        """Up to where each partition of these topics is applied, and the other topics that have checkpoints."""
        rows = await self._fetch("checkpoints", list(topics))
        ours = {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in rows if row["ours"]}
        return ours, sorted({row["topic"] for row in rows if not row["ours"]})

    async def ranges(self, size: int) -> Ranges:
        """Cuts that leave about `size` events, and no more orders than that, to a range."""
        with postgres.translated():
            bounds = await journal.bounds(self._connection, size)
            at = ""
            while (at := await self._connection.fetchval(_SQL["next_order"], at, size)) is not None:
                bounds.append(at)
        return Ranges(bounds)

    async def sampled(self, span: Span, sample: Sample) -> Span:
        """The sample's share of a span, as far as the database has it."""
        rows = await self._fetch("sampled", span.first, span.end, sample.salt, sample.below)
        return span._replace(ids=tuple(row["order_id"] for row in rows))

    async def live(self, span: Span) -> dict[str, Live]:
        """How the orders of a span stand, which events they have and what waits for them."""
        found = {
            row["order_id"]: Live(row["version"], row["erased"], pruned=row["pruned"])
            for row in await self._fetch("orders", *span)
        }
        for row in await self._fetch("applied", *span):
            live = found.setdefault(row["order_id"], Live())
            live.applied[row["version"]] = (row["event_source"] or "", row["event_id"])
        return found

    async def journal(self, span: Span) -> AsyncIterator[tuple[str, Said]]:
        """What was applied to the orders of a span, whole, in version order."""
        for row in await self._fetch("journal", *span):
            yield (
                row["order_id"],
                Said(
                    row["event_source"] or "",
                    row["event_id"],
                    row["event_type"],
                    row["version"],
                    row["occurred_at"],
                    row["data"],
                    row["schema_version"],
                ),
            )

    async def parked(self, span: Span) -> list[tuple[Identity, Arrival]]:
        """What waits for the orders of a span, as if it came now; with the identity under which it waits."""
        return [_parked(row) for row in await self._fetch("parked", *span)]

    async def known_anywhere(self, identities: Iterable[Identity]) -> list[tuple[str, Identity]]:
        """Those among these events that are applied, parked or in dead letters, each with the order that it is of."""
        by_key = {(event_uuid(identity[1]), identity[0]): identity for identity in identities}
        uuids, sources = [key[0] for key in by_key], [key[1] for key in by_key]
        rows = await self._fetch("known_anywhere", uuids, sources) if by_key else []
        return [(row["order_id"], by_key[row["event_uuid"], row["source"]]) for row in rows]

    async def letter_places(self) -> list[TopicPartition]:
        return [TopicPartition(*row) for row in await self._fetch("letter_places")]

    async def letters(self, place: TopicPartition, offset: int, number: int) -> list[Letter]:
        """The next letters of a partition after one, by offset; a page of them."""
        return [_letter(place, row) for row in await self._fetch("letters", *place, offset, number, _PAGE)]

    async def rows(self, place: str, span: Span) -> list[Row]:
        """The rows of a span's orders in a view or table."""
        query = _SQL["rows"].format(relation=place)
        with postgres.translated():
            return as_read(await self._connection.fetch(query, *span))

    async def all_rows(self, place: str) -> AsyncIterator[Row]:
        """All rows of a view or table, in any order, some at a time."""
        with postgres.translated():
            await self._connection.execute(_SQL["patient"], ["enable_seqscan"], ["on"])
            async for row in self._connection.cursor(_SQL["all_rows"].format(relation=place), prefetch=_PAGE):
                yield dict(row)

    async def states(self, order_ids: Sequence[str]) -> AsyncIterator[list[OrderState]]:
        """The orders' states, some at a time."""
        for first in range(0, len(order_ids), _STATES):
            with postgres.translated():
                yield list((await order_store.read(self._connection, order_ids[first : first + _STATES])).values())

    async def placed(self, span: Span) -> list[str]:
        """The orders of a span that are placed."""
        return [row["order_id"] for row in await self._fetch("orders", *span) if row["placed"]]

    async def _fetch(self, query: str, *arguments: Any) -> list[Any]:
        with postgres.translated():
            return await self._connection.fetch(_SQL[query], *arguments)


@asynccontextmanager
async def snapshot(settings: Settings, models: Sequence[ReadModel]) -> AsyncIterator[Snapshot]:
    """The database as it is now. Raises Refused if it isn't what this code reads."""
    connection = await postgres.connect(settings, "projector-verify")
    try:
        with postgres.translated():
            await check(connection, models)
            patient = {**_PATIENT, "lock_timeout": f"{int(settings.statement_timeout * 1000)}"}
            await connection.execute(_SQL["patient"], list(patient), list(patient.values()))
            begun = connection.transaction(isolation="repeatable_read", readonly=True)
            await begun.start()
            relations = [f"projector.{quoted(name)}" for name in _MACHINERY]
            relations += [relation(model.name) for model in models]
            # Before the first SELECT, with which the snapshot begins.
            await connection.execute(_SQL["hold"].format(relations=", ".join(relations)))
        yield Snapshot(connection)
    finally:
        try:
            await connection.close(timeout=_CLOSE)
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            connection.terminate()


def relation(name: str) -> str:
    """What readers see of a read model."""
    return f"read_model.{quoted(name)}"


def _parked(row: Any) -> tuple[Identity, Arrival]:
    identity = (row["event_source"], row["event_id"])
    item = decode(stored(row))
    if isinstance(item, Event):
        kind, text, schema_version = item.type, item.data_text, item.schema_version
    else:
        kind, text, schema_version = _NOT_TO_BE_READ, None, 1
    said = Said(*identity, kind, row["version"], row["occurred_at"], text, schema_version)
    return identity, Arrival("event", row["order_id"], said)


def _letter(place: TopicPartition, row: Any) -> Letter:
    where = (place.topic, place.partition, row["offset"])
    note = Note(row["reason"], row["order_id"], row["event_source"], row["event_id"], where, row["known"], row["again"])
    return Letter(row["offset"], row["id"], row["digest"], note)
