"""The log as far as it is applied by the snapshot's checkpoints, each record with the letter that live has of it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from hashlib import md5
from math import inf
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from consumer import log_slice
from consumer.verification.arrivals import Arrival, Note, Place, arrival
from consumer.verification.snapshot import Letter, Snapshot
from runtime.kafka import Ends, log_ends, partitions_of
from schemas.errors import Refused
from schemas.wire import decode

Spans = Mapping[TopicPartition, Ends]


class Orderless(NamedTuple):
    """An unreadable record that names no order: whether it was read, and whether live has a letter of it."""

    place: Place
    read: bool
    letter: bool


class Read(NamedTuple):
    """What some records of the log were, and how many."""

    records: int
    items: list[Arrival | Orderless]


async def spans(consumer: AIOKafkaConsumer, topics: Sequence[str], checkpoints: Mapping[TopicPartition, int]) -> Spans:
    """What was applied of each partition. Raises Refused if the log doesn't hold it from the beginning, or no longer
    to its end."""
    applied = {one: offset for one, offset in checkpoints.items() if offset > 0}
    gone = applied.keys() - set(await partitions_of(consumer, topics))
    if gone:
        raise Refused(f"{_named(gone)} is not there any more, and has a checkpoint: {_OTHERWISE}")
    ends = await log_ends(consumer, sorted(applied)) if applied else {}
    for one, log in sorted(ends.items()):
        if log.end < applied[one]:
            lost = f"ends at {log.end}, and was applied up to {applied[one]}: the log was lost"
            raise Refused(f"{_named([one])} {lost}; {_OTHERWISE}")
        if log.first > 0:
            raise Refused(f"{_named([one])} begins at {log.first}: the log doesn't hold its beginning; {_OTHERWISE}")
    return {one: Ends(0, applied[one]) for one in ends}


_OTHERWISE = "`--source journal` would do"


def _named(partitions: Sequence[TopicPartition] | set[TopicPartition]) -> str:
    return ", ".join(f"{one.topic}/{one.partition}" for one in sorted(partitions))


async def read(consumer: AIOKafkaConsumer, snapshot: Snapshot, where: Spans, most: int) -> AsyncIterator[Read]:
    """What came to orders, at most `most` records at a time, each partition in order; and in the end all letters whose
    records were not among them."""
    letters = {one: _Letters(snapshot, one) for one in where}
    if where:
        async for batch in log_slice.records(consumer, where, most):
            yield Read(len(batch), [item async for item in _items(batch, letters)])
    elsewhere = [one for one in await snapshot.letter_places() if one not in letters]
    for lane in [*letters.values(), *(_Letters(snapshot, one) for one in elsewhere)]:
        async for letter in lane.rest():
            if letter.note.known:
                yield Read(0, [_without_record(letter)])


async def _items(
    batch: Sequence[ConsumerRecord], letters: Mapping[TopicPartition, _Letters]
) -> AsyncIterator[Arrival | Orderless]:
    for record in batch:
        lane = letters[TopicPartition(record.topic, record.partition)]
        note = None
        if record.offset >= lane.next:
            note = await lane.of(record)
            while lane.passed:
                letter = lane.passed.popleft()
                if letter.note.known:
                    yield _without_record(letter)
        found = arrival(decode(record), note)
        if isinstance(found, Arrival):
            yield found
        elif found is not None:
            yield Orderless(found, True, note is not None and note.known)


class _Letters:
    """A partition's letters, in step with its records. Of records that were not met, they are `passed`."""

    def __init__(self, snapshot: Snapshot, place: TopicPartition) -> None:
        self.next: float = -1  # below this offset there is no letter that wasn't told of
        self.passed: deque[Letter] = deque()
        self._snapshot = snapshot
        self._place = place
        self._page: deque[Letter] = deque()
        self._last = (-1, 0)

    async def of(self, record: ConsumerRecord) -> Note | None:
        """The letter of this very record: a topic that was made anew has others at the same offsets."""
        while (letter := await self._peek()) is not None and letter.offset <= record.offset:
            self._page.popleft()
            if letter.offset == record.offset and letter.digest == _digest(record.value):
                await self._peek()
                return letter.note
            self.passed.append(letter)
        return None

    async def rest(self) -> AsyncIterator[Letter]:
        """All that are left."""
        while (letter := await self._peek()) is not None:
            self._page.popleft()
            yield letter

    async def _peek(self) -> Letter | None:
        if not self._page and self.next != inf:
            self._page.extend(await self._snapshot.letters(self._place, *self._last))
            if self._page:
                self._last = (self._page[-1].offset, self._page[-1].number)
        self.next = self._page[0].offset if self._page else inf
        return self._page[0] if self._page else None


def _digest(value: bytes | None) -> str:
    return md5(value or b"", usedforsecurity=False).hexdigest()


def _without_record(letter: Letter) -> Arrival | Orderless:
    note = letter.note
    if note.order_id is None:
        return Orderless(note.place, read=False, letter=True)
    return Arrival("letter", note.order_id, None, note, note.place)
