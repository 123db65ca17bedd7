"""How long a reader waits: from when an event was due to the first look at the read models that shows its effect.

A batch's rows and its checkpoint are one transaction, so an event is visible exactly when its partition's checkpoint
has passed it. That this is so is checked at each look: in the same statement the reader sees the versions of a few
orders, which change all the time, and each has to be the one that the checkpoints imply.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from consumer.checkpoints import Place
from producer.simulation import Delivery
from schemas.connection import Connection
from tests.faults.load import Log
from tests.faults.records import told
from tests.support.streams import Ends

PROBES = tuple(f"probe-{number}" for number in range(12))
PROBE_EVERY = 20  # events
_EVERY = 0.005  # seconds between two looks
_LOOK = """
    SELECT (SELECT array_agg(next_offset ORDER BY partition) FROM projector.checkpoints WHERE topic = $1) AS offsets,
           (SELECT array_agg(coalesce(s.version, 0) ORDER BY p.place)
            FROM unnest($2::text[]) WITH ORDINALITY AS p (order_id, place)
            LEFT JOIN read_model.order_summary AS s USING (order_id)) AS versions
"""


class Look(NamedTuple):
    """What a reader saw, and when it had the answer (time.monotonic)."""

    at: float
    offsets: tuple[int, ...]  # by partition
    versions: tuple[int, ...]  # of the probes


@dataclass
class Reader:
    """Looks again and again, on a connection of its own."""

    connection: Connection
    topic: str
    looks: list[Look] = field(default_factory=list)

    async def run(self) -> None:
        statement = await self.connection.prepare(_LOOK)
        while True:
            row = await statement.fetchrow(self.topic, list(PROBES))
            assert row is not None
            self.looks.append(Look(time.monotonic(), tuple(row["offsets"] or ()), tuple(row["versions"])))
            await asyncio.sleep(_EVERY)

    def has_seen(self, ends: Ends) -> bool:
        """Whether at the last look everything below these ends was visible."""
        return all(self.looks[-1].offsets[place.partition] >= end for place, end in ends.items())


def with_probes(shop: Iterator[Delivery]) -> Iterator[Delivery]:
    """The shop's stream, with an event of a probe in each twentieth place."""
    probes = _probes()
    for place in count():
        yield next(probes) if place % PROBE_EVERY == 0 else next(shop)


def _probes() -> Iterator[Delivery]:
    yield from (told("placed", 1, order=order) for order in PROBES)
    for version in count(2):
        yield from (told("address_changed", version, order=order) for order in PROBES)


def waits(log: Log, looks: Sequence[Look]) -> list[float]:
    """How many seconds each event was waited for, the shortest first."""
    columns = [[look.offsets[partition] for look in looks] for partition in range(len(looks[0].offsets))]
    found = [looks[bisect_right(columns[one.place.partition], one.offset)].at - one.at for one in log.sent]
    return sorted(found)


def untrue(log: Log, looks: Sequence[Look]) -> list[str]:
    """Looks at which a probe's version wasn't the one that the checkpoints imply."""
    offsets: dict[str, list[int]] = {order: [] for order in PROBES}
    places: dict[str, Place] = {}
    for one in sorted(log.sent, key=lambda one: one.offset):
        order = str(one.delivery.meant.order_id)
        if order in offsets:
            offsets[order].append(one.offset)
            places[order] = one.place
    return [
        f"{order}: a reader saw version {version}, the checkpoint implies {implied}"
        for look in looks
        for order, version in zip(PROBES, look.versions, strict=True)
        if version != (implied := bisect_left(offsets[order], look.offsets[places[order].partition]))
    ]
