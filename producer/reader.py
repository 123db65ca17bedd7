"""The outbox read to the end, row by row, by whoever follows it: the relay, and sagas.

Rows become visible when their transaction commits, which is not in the order of any number that they were given before:
`id > last` skips what commits late. PostgreSQL says below which transaction everything is decided
(`pg_snapshot_xmin`); a reader takes what was written from one such horizon to the next, in the order of positions.

Within a window positions keep an order's events in version order, since a position is drawn while the order is locked.
Across windows `xid` does: a transaction that has its number early may get an order's lock late, after one with a higher
number, which may be above the horizon still; so a row's `xid` is never below that of the order's row before it.

The idea of reading below the horizon is known from message stores on PostgreSQL (Marten's high-water mark, Wolverine,
Emmett); the price is that a transaction left open, anywhere on the server, holds up what was written after it began.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from producer.outbox import SQL, OutboxRow
from runtime.postgres import affected
from schemas.connection import Connection
from schemas.errors import OutOfPlace, Refused


class Place(NamedTuple):
    """How far a reader is: below `done_below` everything; up to `position` of the window that ends at `window_end`.

    Outside a window the two are equal and the position is 0.
    """

    done_below: int
    window_end: int
    position: int


class Page(NamedTuple):
    """Rows in order, and where the reader is once they are dealt with."""

    rows: list[OutboxRow]
    after: Place


class Reader:
    """A reader's leader: it alone moves the place on, and only from where it believes it stands.

    Whoever takes over raises the epoch, so that a leader that has lost its session without noticing marks nothing.
    """

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self._most = most
        self._epoch = 0
        self._marked = self._place = Place(0, 0, 0)
        self._held_since: float | None = None

    async def take(self, connection: Connection, leader: str) -> None:
        """Become the leader, and begin where the last one marked."""
        row = await connection.fetchrow(SQL["reader_take"], self.name, leader)
        assert row is not None
        self._epoch = row["epoch"]
        self._marked = self._place = Place(int(row["done_below"]), int(row["window_end"]), row["position"])
        self._held_since = None

    async def page(self, connection: Connection) -> Page:
        """The next rows; none if there is nothing to read. Until they are marked the same ones come again."""
        while True:
            place = self._place
            if place.done_below == place.window_end:
                place = self._place = await self._opened(connection, place)
            if place.done_below == place.window_end:
                return Page([], place)
            found = await connection.fetch(
                SQL["window_page"], str(place.done_below), str(place.window_end), place.position, self._most
            )
            rows = [OutboxRow(*row.values()) for row in found]
            done = Place(place.window_end, place.window_end, 0)
            if rows:
                return Page(rows, Place(*place[:2], rows[-1].position) if len(rows) == self._most else done)
            self._place = done

    async def mark(self, connection: Connection, after: Place) -> None:
        """All before this place is dealt with. Raises OutOfPlace if there is another leader by now."""
        before = self._marked
        marked = await connection.execute(
            SQL["reader_mark"],
            self.name,
            self._epoch,
            str(before.done_below),
            before.position,
            str(after.done_below),
            str(after.window_end),
            after.position,
        )
        if affected(marked) != 1:
            raise OutOfPlace(f"the outbox's reader {self.name} has another leader")

    async def hold(self, connection: Connection) -> None:
        """Be the leader until the transaction ends. Raises OutOfPlace if there is another one by now."""
        if await connection.fetchval(SQL["reader_hold"], self.name, self._epoch) is None:
            raise OutOfPlace(f"the outbox's reader {self.name} has another leader")

    def moved(self, after: Place) -> None:
        """To be told once the transaction that marked this place has committed."""
        self._marked = self._place = after

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self._place

    def upto(self, row: OutboxRow) -> Place:
        """Where it is once this row of the page in hand is dealt with, and all before it."""
        return self._place._replace(position=row.position)

    def before(self, row: OutboxRow) -> Place:
        """Where it is once all before this row of the page in hand is dealt with."""
        return self._place._replace(position=row.position - 1)

    @property
    def unmarked(self) -> Place | None:
        """Where it stands, if that isn't marked: windows in which nothing was aren't worth a write each."""
        return self._place if self._place != self._marked else None

    @property
    def held_for(self) -> float:
        """Seconds since which something is written that can't be read, for a transaction that is still open."""
        return 0.0 if self._held_since is None else time.monotonic() - self._held_since

    async def _opened(self, connection: Connection, place: Place) -> Place:
        """The next window, standing before its first row; empty, and so done, if there is none."""
        row = await connection.fetchrow(SQL["window_open"], str(place.done_below))
        assert row is not None
        end = int(row["window_end"])
        if place.done_below > int(row["newest"]):
            raise Refused(
                f"the outbox's reader {self.name} has read further than this server's transactions go: the database "
                "was restored from a dump, and its write_model.outbox_readers and outbox.xid mean nothing here"
            )
        if not row["ahead"]:
            self._held_since = None
        elif self._held_since is None or end > place.done_below:
            self._held_since = time.monotonic()
        if row["first"] is None:
            return Place(end, end, 0)
        return Place(place.done_below, end, row["first"] - 1)
