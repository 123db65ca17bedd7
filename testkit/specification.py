"""given / when / then for a read model, in memory: the same code that decides and derives in a worker, no database.

    orders_by_country = Specification(OrdersByCountry())

    def test_a_share_moves_with_the_address() -> None:
        order = Order("o-1")
        orders_by_country.given(order.placed(address={"country": "NL"})).when(
            order.address_changed(country="FR")
        ).then({"country": "FR", "currency": "EUR", "orders": 1, "revenue": "10.00"})

`then` plays the story in every way in which a worker may meet it: one event at a time with each delivered twice, in
batches with each delivered twice, and the last event first. Whichever way, the rows have to be what the read model's
own function says of the orders as they are in the end, and those that the test names; and PostgreSQL has to be able to
hold them, and whatever there was on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from consumer.read_model_store import ProjectionFailed
from consumer.read_models import ReadModel
from consumer.read_models.kinds import Stored
from consumer.reference import Tombstone
from schemas.events import Decoded, StoredRecord, Unreadable
from schemas.wire import decode
from testkit.delivery import as_delivery
from testkit.events import Happening
from testkit.rows import Row, as_said, difference, rows_of
from testkit.tables import Tables, changes_any

Story = tuple[Happening, ...]


class Specification:
    """What a read model shows. `given` and `when` give a new one each, so that one can be the start of many."""

    def __init__(self, model: ReadModel, given: Story = (), when: Story = ()) -> None:
        if not isinstance(model, Stored):
            raise TypeError(f"{model.name} is a view: SQL can only be tested in a database (see assert_true)")
        self._model = model
        self._given = given
        self._when = when

    def given(self, *events: Happening) -> Specification:
        """What has happened before."""
        return Specification(self._model, (*self._given, *events), self._when)

    def when(self, *events: Happening) -> Specification:
        """What happens now. In a worker it comes in a batch of its own, after what was given."""
        return Specification(self._model, self._given, (*self._when, *events))

    def then(self, *rows: Mapping[str, Any]) -> None:
        """All rows that there are then, as readers see them, in any order."""
        __tracebackhide__ = True
        named = [as_said(self._model, row) for row in rows]
        outcomes = {way: self._outcome(way, batches) for way, batches in self._ways().items()}
        unlike = {way: difference(self._model, named, found) for way, found in outcomes.items()}
        for way, shown in unlike.items():
            if shown:  # the way matters only if another one ends well
                raise AssertionError(f"{self._title('' if all(unlike.values()) else way)}\n{shown}")

    def _outcome(self, way: str, batches: Iterable[Sequence[Decoded]]) -> list[Row]:
        """The rows after these batches. Raises AssertionError unless they are what the function says of the orders."""
        __tracebackhide__ = True
        tables = self._play(batches)
        found = tables.rows(self._model)
        if unlike := difference(self._model, rows_of(self._model, tables.books.orders.values()), found):
            raise AssertionError(f"{self._title(way)} {_STALE}\n{unlike}")
        return found

    def _ways(self) -> dict[str, list[list[Decoded]]]:
        given, when = list(map(_read, self._given)), list(map(_read, self._when))
        return {
            "one at a time": [[event] for event in (*given, *when)],
            "in batches": [batch for batch in (given, when) if batch],
            "in one batch": [[*given, *when]],
            "the last first": [[event] for event in reversed((*given, *when))],
        }

    def _play(self, batches: Iterable[Sequence[Decoded]]) -> Tables:
        """The tables after these batches, each of which comes twice."""
        __tracebackhide__ = True
        tables = Tables([self._model])
        for batch in batches:
            try:
                tables.take(*batch)
            except ProjectionFailed as failure:
                failure.add_note(self._title())
                raise failure from failure.__context__  # hidden from logs, which a test's own data need not be
            except (TypeError, ValueError) as unstorable:
                unstorable.add_note(self._title())
                raise
            assert not changes_any(tables.take(*batch)), f"{self._title()} a second delivery changed rows"
        _expect_all_applied(tables)
        return tables

    def _title(self, way: str = "") -> str:
        told = ", ".join(_name(event) for event in (*self._given, *self._when)) or "nothing"
        return f"{self._model.name} after {told}{way and f', {way}'}:"


_STALE = (
    "the rows are not what the function says of the orders as they are. "
    "Is a field missing in depends_on, or does the function look at anything but the order?"
)


def _name(event: Happening) -> str:
    return f"{event.order_id} erased" if isinstance(event, Tombstone) else f"{event['type']} ({event['id']})"


def _read(event: Happening) -> Decoded:
    """The event as a worker reads it."""
    record = as_delivery(event)
    match decode(StoredRecord("testkit", 0, 0, 0, record.key, record.value, tuple(record.headers))):
        case Unreadable(why):
            raise ValueError(f"{_name(event)} is no event of the contract: {why}")
        case found:
            return found


def _expect_all_applied(tables: Tables) -> None:
    """A story with a hole or an impossible event in it says nothing about the read model: it's a slip of the test."""
    books = tables.books
    slips = [f"{event.type} ({event.id}) waits for a version before {event.version}" for event in books.parked]
    slips += [letter.why for letter in books.letters]
    if slips:
        raise ValueError(f"no worker could apply that: {'; '.join(slips)}")
