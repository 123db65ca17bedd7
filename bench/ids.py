"""Event ids: as one kind or the other has them, in a ledger and in a stream."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import replace
from random import Random
from typing import Literal

from producer.simulation import Delivery, SimulationPlan

Kind = Literal["random", "uuid7"]

_SEED = 42


def random_id(random: Random) -> uuid.UUID:
    """A UUIDv4."""
    return uuid.UUID(int=random.getrandbits(128), version=4)


def ordered_id(random: Random, milliseconds: int) -> uuid.UUID:
    """A UUIDv7 (RFC 9562): milliseconds since 1970, then chance."""
    return uuid.UUID(int=milliseconds << 80 | 7 << 76 | random.getrandbits(12) << 64 | 2 << 62 | random.getrandbits(62))


def named(deliveries: Iterable[Delivery], kind: Kind) -> Iterator[Delivery]:
    """Events in CloudEvents' binary mode, none of them twice, each with an id of this kind instead of its own.

    UUIDv7s are of the simulation's first day, a millisecond apart.
    """
    random, began = Random(_SEED), int(SimulationPlan.start.timestamp() * 1000)
    for place, delivery in enumerate(deliveries):
        name = str(ordered_id(random, began + place) if kind == "uuid7" else random_id(random))
        headers = [(header, name.encode() if header == "ce_id" else text) for header, text in delivery.headers]
        event = {**delivery.meant.event, "id": name} if delivery.meant.event else None
        yield replace(delivery, headers=headers, meant=replace(delivery.meant, event=event))
