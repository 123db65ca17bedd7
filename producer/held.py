"""Orders whose next event Kafka refuses for itself, as too large say: they wait, and no other order does.

What comes after that event is held as well, or it would come before it. It all stays in the outbox; from time to time
it is tried again, on a producer of its own, since a refused record leaves an idempotent one unusable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

from producer.outbox import SQL, OutboxRow
from producer.reader import Place
from schemas.connection import Connection
from schemas.errors import Unavailable

_OF_THE_RECORD = (MessageSizeTooLargeError, RecordListTooLargeError)

Marking = Callable[[], Awaitable[None]]
Send = Callable[[Sequence[OutboxRow]], Awaitable[None]]


class RecordRefused(Unavailable):
    """Kafka answers, and will not have this record. The producer is to be given up."""


def refusal(error: Unavailable) -> RecordRefused | None:
    """The error as one of the record, if it is."""
    return RecordRefused(str(error)) if isinstance(error.__cause__, _OF_THE_RECORD) else None


class Held:
    """The orders that are held, as the leader knows them: it alone holds and releases."""

    def __init__(self, reader: str) -> None:
        self._reader = reader
        self.orders: set[str] = set()

    async def load(self, connection: Connection) -> None:
        """Know them: to be called by a new leader."""
        rows = await connection.fetch(SQL["held_read"], self._reader)
        self.orders = {row["aggregateid"] for row in rows}

    async def hold(self, connection: Connection, row: OutboxRow, error: str) -> None:
        """From this event on the order is held, once the caller's transaction has committed."""
        await connection.execute(SQL["held_add"], self._reader, row.aggregateid, row.position, error)

    async def retry(self, connection: Connection, order: str, place: Place, send: Send, marking: Marking) -> None:
        """Send what is held of an order and lies before `place`, and release it. `marking` is called in the releasing
        transaction, to see that we lead. Raises RecordRefused if it is refused again."""
        found = await connection.fetch(
            SQL["held_rows"], self._reader, order, str(place.done_below), str(place.window_end), place.position
        )
        await send([OutboxRow(*row.values()) for row in found])
        async with connection.transaction():
            await marking()
            await connection.execute(SQL["held_remove"], self._reader, order)
        self.orders.discard(order)
