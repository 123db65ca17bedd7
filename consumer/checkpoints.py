"""How far each partition is applied, and who may move it on.

A checkpoint moves in the batch's own transaction, by compare-and-set on (epoch, next offset). The epoch grows at
each change of owner, so a worker that has lost a partition without knowing it can commit nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from runtime.packing import pack
from runtime.postgres import affected
from runtime.sql import Queries
from schemas.connection import Connection
from schemas.errors import OutOfPlace

_SQL = Queries("consumer", "queries.sql")


class Place(NamedTuple):
    """One partition of a topic."""

    topic: str
    partition: int


@dataclass(frozen=True)
class Hold:
    """A partition as its owner holds it: where it goes on, in which epoch, and the shard of its sums."""

    next_offset: int
    epoch: int
    shard: int


class Move(NamedTuple):
    """A checkpoint's step: from where it is held to `next_offset`; `last_event_at` is the newest event's time."""

    place: Place
    hold: Hold
    next_offset: int
    last_event_at: datetime | None

    @property
    def done(self) -> Hold:
        """The partition as its owner holds it after the step."""
        return Hold(self.next_offset, self.hold.epoch, self.hold.shard)


async def known(connection: Connection, topics: Iterable[str]) -> set[Place]:
    """The partitions of these topics that have a checkpoint."""
    rows = await connection.fetch(_SQL["checkpoints_read"], sorted(topics))
    return {Place(row["topic"], row["partition"]) for row in rows}


async def take(connection: Connection, starts: Mapping[Place, int], owner: str) -> dict[Place, Hold]:
    """Become the owner of partitions. One without a checkpoint gets the start given for it."""
    rows = await connection.fetch(
        _SQL["checkpoints_take"],
        [place.topic for place in starts],
        [place.partition for place in starts],
        list(starts.values()),
        owner,
    )
    return {Place(row["topic"], row["partition"]): Hold(row["next_offset"], row["epoch"], row["shard"]) for row in rows}


async def advance(connection: Connection, moves: Sequence[Move]) -> None:
    """Move checkpoints on. Raises OutOfPlace if one of them isn't where its owner believes, or isn't its own."""
    if not moves:
        return
    packed = pack(
        [
            [move.place.topic for move in moves],
            [str(move.place.partition) for move in moves],
            [str(move.hold.epoch) for move in moves],
            [str(move.hold.next_offset) for move in moves],
            [str(move.next_offset) for move in moves],
            [None if move.last_event_at is None else move.last_event_at.isoformat() for move in moves],
        ]
    )
    moved = await connection.execute(_SQL["checkpoints_advance"], packed.separator, packed.null, *packed.columns)
    if affected(moved) != len(moves):
        raise OutOfPlace("a checkpoint was moved, or its partition taken, by another worker")


async def reached(connection: Connection, moves: Sequence[Move]) -> bool:
    """Whether these checkpoints stand where the moves lead, still in their owner's epoch: then it was the owner who
    moved them, since nobody else can."""
    found = await connection.fetchval(
        _SQL["checkpoints_reached"],
        [move.place.topic for move in moves],
        [move.place.partition for move in moves],
        [move.hold.epoch for move in moves],
        [move.next_offset for move in moves],
    )
    return bool(found == len(moves))
