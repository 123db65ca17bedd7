"""What has come to an order, as the log or the database has it, and as the reference model takes it. Pure.

Data are read here from the text that was sent, not taken from the code whose work is judged. What a dead letter has
decided, live alone could know (a read model's code failed; PostgreSQL refused a value), so that is taken as decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from consumer import exact_json
from schemas import payload, upcasts
from schemas.errors import UnreadableEvent
from schemas.events import Decoded, Event, Tombstone, Unreadable

Row = dict[str, Any]
Identity = tuple[str, str]  # source and id, as CloudEvents has it
Place = tuple[str, int, int]  # topic, partition, offset


class Said(NamedTuple):
    """An event as it was sent. `text` is its data; `schema_version` is None where nobody has recorded it."""

    source: str
    id: str
    type: str
    version: int
    time: datetime
    text: str | None
    schema_version: int | None

    @property
    def identity(self) -> Identity:
        return self.source, self.id


class Note(NamedTuple):
    """A dead letter, as live has it. `known`: not retried, so what it says still counts. `again`: somebody has tried it
    again, so its record came once more, at a moment that the log doesn't know."""

    reason: str
    order_id: str | None
    source: str | None
    event_id: str | None
    place: Place
    known: bool
    again: bool

    @property
    def identity(self) -> Identity | None:
        """The event's, unless it couldn't be read."""
        return None if self.source is None or self.event_id is None else (self.source, self.event_id)

    @property
    def decides(self) -> bool:
        """Whether the reference model couldn't have known it."""
        return self.known and self.reason in ("projection_error", "unreadable")


class Arrival(NamedTuple):
    """A record that names an order.

    left    out of it, by a letter    broken     can't be read
    letter  without a record          tombstone, event
    """

    kind: Literal["event", "broken", "tombstone", "left", "letter"]
    order_id: str
    said: Said | None = None
    note: Note | None = None
    place: Place = ("", -1, -1)
    timestamp: int = 0

    @property
    def lane(self) -> tuple[str, int] | None:
        """The partition whose order it keeps; None: nobody knows when it came."""
        if self.place[1] < 0 or (self.note is not None and self.note.again):
            return None
        return self.place[:2]

    def packed(self) -> tuple[Any, ...]:
        """As plain tuples, which are written to files in half the time."""
        return (self[0], self[1], self.said and tuple(self.said), self.note and tuple(self.note), *self[4:])


def unpacked(plain: tuple[Any, ...]) -> Arrival:
    """What was packed."""
    kind, order_id, said, note, *rest = plain
    return Arrival(kind, order_id, said and Said(*said), note and Note(*note), *rest)


def arrival(item: Decoded, note: Note | None) -> Arrival | Place | None:
    """What a record of the log is, its letter considered; a place alone for an unreadable record that names no order,
    None for one that another release than this has read."""
    record = item.record
    place = (record.topic, record.partition, record.offset)
    known = note if note is not None and note.known else None
    order_id = item.order_id
    said = _said(item) if isinstance(item, Event) else None
    kind: Literal["event", "broken", "tombstone", "left"]
    if known is not None and (known.reason == "unreadable" or isinstance(item, Unreadable)):
        kind, order_id, said = "broken" if known.reason == "unreadable" else "left", known.order_id, None
    elif known is not None and known.reason == "projection_error":
        kind = "left"
    elif isinstance(item, Unreadable):
        if note is not None:
            return None
        kind = "broken"
    else:
        kind = "tombstone" if isinstance(item, Tombstone) else "event"
    return place if order_id is None else Arrival(kind, order_id, said, note, place, record.timestamp)


def _said(event: Event) -> Said:
    return Said(event.source, event.id, event.type, event.version, event.time, event.data_text, event.schema_version)


@dataclass
class Live:
    """What the snapshot has of an order. `applied` is by version, without data, and has none up to `pruned`, where the
    history was dropped; `parked` is by identity."""

    version: int = 0
    erased: bool = False
    applied: dict[int, Identity] = field(default_factory=dict)
    parked: dict[Identity, int] = field(default_factory=dict)
    pruned: int = 0

    def remember(self, history: Iterable[Row]) -> None:
        """What was dropped was as the log has it: nothing here says otherwise."""
        for row in history:
            if row["sequence"] <= self.pruned:
                self.applied.setdefault(row["sequence"], (row["source"], row["id"]))

    def rows(self, order_id: str) -> Iterator[tuple[str, Row]]:
        """What the machinery's books have of it, each row with its book's name; letters apart."""
        if self.version or self.erased:
            yield "orders", {"order_id": order_id, "version": self.version, "erased": self.erased}
        for version, identity in self.applied.items():
            yield "processed_events", event_row(order_id, version, identity)
        for identity, version in self.parked.items():
            yield "parked_events", event_row(order_id, version, identity)


def event(order_id: str, said: Said) -> Row:
    """The event as the reference model takes it: `data` in the version of now, `sent` as they were."""
    as_sent = sent(said)
    return {
        "id": said.id,
        "source": said.source,
        "type": said.type,
        "subject": order_id,
        "time": said.time.isoformat(),
        "sequence": said.version,
        "data": _current(said, as_sent),
        "sent": as_sent,
    }


def sent(said: Said) -> Any:
    """Its data, as they were sent."""
    return None if said.text is None else exact_json.parsed(said.text)


def as_sent(row: Row) -> Row:
    """The same with its data as they were sent, for the timeline."""
    return {**row, "data": row["sent"]}


def _current(said: Said, data: Any) -> Any:
    version = said.schema_version
    if version is None:
        # As the journal is read: version 1, or 0 of before it was recorded, which is told by not being readable as 1.
        changed = upcasts.upcast(said.type, 0, data) != data
        version = 0 if changed and not _readable(said, 1) and _readable(said, 0) else 1
    return upcasts.upcast(said.type, version, data)


def _readable(said: Said, version: int) -> bool:
    try:
        payload.read(said.type, version, (said.text or "").encode())
    except UnreadableEvent:
        return False
    return True


def event_row(order_id: str, version: int, identity: Identity) -> Row:
    """An applied or parked event as it is compared."""
    return {"order_id": order_id, "version": version, "event_source": identity[0], "event_id": identity[1]}


def letter_row(reason: str, order_id: str | None, record: Identity | Place) -> Row:
    """A dead letter as it is compared: known by its event, or by its record's place if it has none."""
    what = " ".join(record) if len(record) == 2 else f"{record[0]}/{record[1]} at offset {record[2]}"
    return {"order_id": order_id or "", "record": what, "reason": reason}


def note_row(note: Note) -> Row:
    identity = None if note.reason == "unreadable" else note.identity
    return letter_row(note.reason, note.order_id, identity or note.place)


LETTER_KEY = ("order_id", "record")
BOOK_KEYS: Mapping[str, tuple[str, ...]] = {
    "orders": ("order_id",),
    "processed_events": ("order_id", "version"),
    "parked_events": ("order_id", "event_source", "event_id"),
    "dead_letters": LETTER_KEY,
}
