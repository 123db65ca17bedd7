"""The ledger kept bounded: histories of orders to which nothing has happened for long are dropped, once archived.

A history goes as a whole or not at all, so what is left can be folded anew. The order itself stays in every read model
but its timeline; a note of the version up to which its history is gone makes what comes again of it a duplicate.

What is archived is told by marks: where the log's partitions ended at some moment. All that was processed before lies
below; once an archive has come that far, it has it. So a run drops what an earlier one has marked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import NamedTuple

from aiokafka import TopicPartition

from consumer.archive import Archive
from consumer.archive_layout import other_log
from consumer.install import check_schema
from consumer.rebuild import shadow
from consumer.rebuild.shadow import BEFORE, SHADOW
from runtime import postgres
from runtime.failpoints import Failpoints
from runtime.kafka import Ends, log_ends, observer, partitions_of
from runtime.settings import Settings
from runtime.sql import Queries
from schemas.connection import Connection
from schemas.errors import Refused

_SQL = Queries("consumer", "prune.sql")

_PAGE = 1_000  # orders looked at, and perhaps dropped, in one transaction
_LEEWAY = timedelta(minutes=5)  # by which the clocks of two PostgreSQL servers may differ, after a failover


class Mark(NamedTuple):
    """Where partitions ended when."""

    noted_at: datetime
    ends: Mapping[TopicPartition, int]


@dataclass(frozen=True)
class Pruned:
    """What was dropped, or would be: histories of `orders`, with so many `events`. Of all `orders_seen` these were
    older than `before` and archived up to `archived`; None: no mark has been reached, so nothing was dropped."""

    before: datetime
    archived: datetime | None
    orders: int = 0
    events: int = 0
    orders_seen: int = 0


async def prune(
    settings: Settings,
    keep: timedelta,
    archive: str | None,
    *,
    dry: bool = False,
    stop: asyncio.Event | None = None,
) -> Pruned:
    """Drop histories whose last event happened more than `keep` ago. Without an archive they are dropped for good.

    Raises Refused if the archive doesn't have everything from the log's beginning, or a rebuild is unfinished or can
    still be taken back: both need the journal. What was dropped by then stays dropped; run it again, and it goes on.
    """
    failpoints = Failpoints(settings.failpoints)
    async with shadow.session(settings, "projector-prune") as connection, shadow.alone(connection):
        await check_schema(connection)
        for schema, ended in ((SHADOW, "--cancel"), (BEFORE, "--drop-old")):
            if await shadow.there(connection, schema):
                raise Refused(f"tables of a rebuild need the journal: end that with `projector rebuild {ended}`")
        now: datetime = await connection.fetchval(_SQL["now"])
        archived: datetime | None = (
            now if archive is None else await _archived(connection, settings, archive, now, dry=dry)
        )
        done = Pruned(now - keep, archived)
        if archived is None:
            return done
        processed_before = now if archive is None else archived - _LEEWAY
        drop = partial(_drop, connection, failpoints, happened=done.before, processed=processed_before, dry=dry)
        at, more = "", True
        while more and not (stop is not None and stop.is_set()):
            rows = await connection.fetch(_SQL["orders_page"], at, done.before, _PAGE)
            old = [row["order_id"] for row in rows if row["old"]]
            orders, events = await drop(old) if old else (0, 0)
            seen = done.orders_seen + len(rows)
            done = Pruned(done.before, archived, done.orders + orders, done.events + events, seen)
            more = len(rows) == _PAGE
            at = rows[-1]["order_id"] if rows else at
        return done


async def _drop(
    connection: Connection,
    failpoints: Failpoints,
    order_ids: Sequence[str],
    *,
    happened: datetime,
    processed: datetime,
    dry: bool,
) -> tuple[int, int]:
    """The orders and events dropped that happened, and were processed, before these times. In a transaction of its own;
    `dry`: it is taken back."""
    transaction = connection.transaction()
    with postgres.translated():
        await transaction.start()
        try:
            # A writer that comes now waits for some milliseconds; one that was first keeps its order out of this.
            locked = [row["order_id"] for row in await connection.fetch(_SQL["orders_locked"], order_ids, happened)]
            row = await connection.fetchrow(_SQL["drop_histories"], locked, happened, processed)
            assert row is not None  # counts always are
            await failpoints.reach("prune_dropped")
        except BaseException:
            await transaction.rollback()
            raise
        await (transaction.rollback() if dry else transaction.commit())
    return row["orders"], row["events"]


async def _archived(
    connection: Connection, settings: Settings, archive: str, now: datetime, *, dry: bool
) -> datetime | None:
    """Up to when all that was processed is archived; and, unless `dry`, a mark for the next time."""
    if others := [row["topic"] for row in await connection.fetch(_SQL["other_topics"], list(settings.topics))]:
        raise Refused(f"the ledger has events of {', '.join(others)} too: name all topics in PROJECTOR_TOPICS")
    place = await asyncio.to_thread(Archive, archive, allow_plaintext=settings.allow_plaintext)
    held = await asyncio.to_thread(_held, place, settings.topics)
    async with observer(settings) as consumer:  # after the archive, which may be growing
        ends = await log_ends(consumer, await partitions_of(consumer, settings.topics))
    for one, span in held.items():
        if one in ends and (why := other_log(span.end, ends[one])):
            raise Refused(f"{one.topic}/{one.partition}: {why}")
    marks = [Mark(now, {one: log.end for one, log in ends.items()}), *await _marks(connection)]
    newest = reached(marks, held)
    if dry:
        return newest
    async with connection.transaction():
        places = sorted(ends)
        topics, partitions = [one.topic for one in places], [one.partition for one in places]
        await connection.execute(_SQL["mark"], now, topics, partitions, [ends[one].end for one in places])
        if newest is not None:
            await connection.execute(_SQL["unmark"], newest)
    return newest


def _held(archive: Archive, topics: Sequence[str]) -> dict[TopicPartition, Ends]:
    """What the archive has. Raises Refused for holes: what the ledger has of them is nowhere else."""
    held = archive.spans(topics)
    for one, gaps in archive.gaps(topics).items():
        raise Refused(f"the archive lacks {one.topic}/{one.partition}, offsets {gaps[0].first} to {gaps[0].end - 1}")
    for one, span in held.items():
        if span.first > 0:
            raise Refused(f"the archive of {one.topic}/{one.partition} begins at offset {span.first}, not at 0")
    return held


def reached(marks: Sequence[Mark], held: Mapping[TopicPartition, Ends]) -> datetime | None:
    """When the newest of these marks was noted that an archive has come to in every partition. `marks` are the newest
    first. Pure."""
    for mark in marks:
        if all(end == 0 or (one in held and held[one].end >= end) for one, end in mark.ends.items()):
            return mark.noted_at
    return None


async def _marks(connection: Connection) -> list[Mark]:
    rows = await connection.fetch(_SQL["marks"])
    return [
        Mark(noted_at, {TopicPartition(row["topic"], row["partition"]): row["end"] for row in group})
        for noted_at, group in groupby(rows, key=lambda row: row["noted_at"])
    ]
