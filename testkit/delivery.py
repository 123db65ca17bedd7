"""Events as Kafka may deliver them: more than once, in another order, with broken records and restarts in between.

Pure and seeded: the same events and the same seed give the same deliveries. Every event is delivered at least once and
every hole closes, so where the read models have to end is known: where the events would have brought them in order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from random import Random
from typing import Literal

from consumer.reference import Tombstone
from producer.simulation import Delivery, Meaning
from testkit.encodings import ENCODINGS, encoded
from testkit.events import Event, Happening

_GARBAGE = (b"", b"{", b"not JSON", b"[1,2]", b"\xff\xfe", b'{"specversion":"1.0"}')
_SPOILT = {"id": "", "source": "", "type": "", "time": "yesterday", "sequence": 0}

Due = tuple[float, Delivery]  # a place among the deliveries, and what comes there


@dataclass(frozen=True)
class Restart:
    """The worker is cut off wherever it is. The next one dies at its first commit, just before or just after it."""

    at: Literal["before", "after"] = "before"


Told = Happening | Delivery | Restart
"""What can be delivered: events and erasures as their producer means them, or records as they may arrive."""


class Deliveries(list[Delivery | Restart]):
    """What `deliver_badly` makes of events. Prints as a summary that names the seed."""

    def __init__(self, deliveries: Iterable[Delivery | Restart], seed: int) -> None:
        super().__init__(deliveries)
        self.seed = seed

    def __repr__(self) -> str:
        kinds = Counter(type(one).__name__ if isinstance(one, Restart) else one.meant.kind for one in self)
        told = ", ".join(f"{count} × {kind.lower()}" for kind, count in kinds.items())
        return f"deliver_badly(…, seed={self.seed}): {told}"


def deliver_badly(
    events: Sequence[Happening],
    seed: int,
    *,
    duplicates: float = 0.2,
    late: float = 0.2,
    poison: float = 0.05,
    restarts: int = 2,
    window: int = 50,
) -> Deliveries:
    """The deliveries of these events. `duplicates`, `late` and `poison` are shares of them; a copy or a late event
    comes up to `window` places after its own; the restarts are in the first two thirds, with something left to do."""
    random = Random(seed)
    records = [as_delivery(event, random) for event in events]
    due = [
        *_in_time_or_late(random, records, late, window),
        *_copies(random, records, duplicates, window),
        *_broken(random, events, poison),
    ]
    deliveries: list[Delivery | Restart] = [record for _, record in sorted(due, key=itemgetter(0))]
    for number in range(restarts):
        deliveries.insert(random.randrange(len(deliveries) * 2 // 3 + 1), Restart(("before", "after")[number % 2]))
    return Deliveries(deliveries, seed)


def as_delivery(told: Happening | Delivery, random: Random | None = None) -> Delivery:
    """The record of what a producer means; in one of the three encodings, or in CloudEvents binary if none is drawn."""
    match told:
        case Delivery():
            return told
        case Tombstone(order_id):
            return Delivery(order_id.encode(), None, [], Meaning("tombstone", order_id=order_id))
    return encoded(told, random.choice(ENCODINGS) if random else "binary")


def _in_time_or_late(random: Random, records: Sequence[Delivery], late: float, window: int) -> Iterator[Due]:
    for place, record in enumerate(records):
        yield place + (random.uniform(1, window) if random.random() < late else 0), record


def _copies(random: Random, records: Sequence[Delivery], duplicates: float, window: int) -> Iterator[Due]:
    for place, record in enumerate(records):
        if random.random() < duplicates:
            yield place + random.uniform(0, window), _copy(random, record)


def _copy(random: Random, record: Delivery) -> Delivery:
    """The same bytes, another encoding, or another partition (not for an outbox record: its key is its order)."""
    event, luck = record.meant.event, random.random()
    if event is None or luck < 0.6:
        return record
    if luck < 0.8:
        return encoded(event, random.choice(ENCODINGS))
    key = random.choice((None, f"elsewhere-{random.randrange(1000)}".encode()))
    return replace(encoded(event, random.choice(("binary", "structured"))), key=key)


def _broken(random: Random, events: Sequence[Happening], poison: float) -> Iterator[Due]:
    """Records that nobody can read: garbage, and spoilt events. None of an erased order, which would be dropped."""
    erased = {event.order_id for event in events if isinstance(event, Tombstone)}
    models = [event for event in events if not isinstance(event, Tombstone) and event["subject"] not in erased]
    for _ in range(round(poison * len(events))):
        spoilt = _spoilt(random, random.choice(models)) if models and random.random() < 0.6 else None
        yield random.uniform(0, len(events)), spoilt or _garbage(random)


def _spoilt(random: Random, event: Event) -> Delivery:
    """Torn, or with an attribute that can't be; in any case still with its order's name on it."""
    broken = Meaning("broken", order_id=event["subject"])
    if random.random() < 0.5:
        whole = encoded(event, "structured")
        assert whole.value is not None
        return replace(whole, value=whole.value[: random.randrange(1, len(whole.value))], meant=broken)
    attribute = random.choice(sorted(_SPOILT))
    return replace(encoded({**event, attribute: _SPOILT[attribute]}, random.choice(ENCODINGS)), meant=broken)


def _garbage(random: Random) -> Delivery:
    key = f"garbage-{random.randrange(1000)}".encode()
    return Delivery(key, random.choice(_GARBAGE), [], Meaning("broken"))
