"""What a producer meant by what was delivered, and what follows from it for every read model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from decimal import Decimal, localcontext
from functools import cached_property
from typing import Any

from consumer import reference
from consumer.read_models import READ_MODELS, ReadModel
from consumer.read_models.kinds import Stored
from consumer.reference import Broken, Tombstone
from producer.simulation import Delivery
from schemas import money
from schemas.order import OrderState
from testkit.delivery import Deliveries, Restart, Told
from testkit.events import Event, Happening, meant
from testkit.rows import Row, rows_of

_STATE = {field.name for field in fields(OrderState)}
_MONEY = ("total", "paid", "refunded")
_JSON = ("lines", "shipping_address")


class Story:
    """Events in order and once, or the deliveries made of them: what they mean is the same."""

    def __init__(self, told: Iterable[Told]) -> None:
        happenings = [one for one in told if not isinstance(one, Restart)]
        meanings = [_meaning(one) for one in happenings]
        self.told_by = repr(told) if isinstance(told, Deliveries) else None
        self.knows_broken = any(isinstance(one, Delivery) for one in happenings)
        self.settled = reference.settle(meanings)
        self._events = [one.attributes for one in meanings if isinstance(one, reference.Event)]

    def history(self, order_id: str) -> list[Event]:
        """All that an order was meant to go through, each event once."""
        theirs = {(event["source"], event["id"]): event for event in self._events if event["subject"] == order_id}
        return sorted(theirs.values(), key=lambda event: event["sequence"])

    def expected(self, model: str | ReadModel) -> tuple[list[Row], Sequence[str]]:
        """A read model's rows, and the columns that are its key."""
        name = model if isinstance(model, str) else model.name
        if name in reference.KEYS:
            return reference.read_models(self.settled.applied)[name], reference.KEYS[name]
        if isinstance(model, Stored):
            return rows_of(model, self._orders.values()), [column.name for column in model.keys]
        raise TypeError(
            f"{name} is neither built in nor a read model with a function of its own: nobody knows its rows"
        )

    def behind(self, model: str | ReadModel, key: tuple[Any, ...]) -> list[str]:
        """The orders that a row is about."""
        if key[0] in {event["subject"] for event in self._events}:
            return [key[0]]
        built_in = {one.name: one for one in READ_MODELS}
        found = built_in.get(model) if isinstance(model, str) else model
        if not isinstance(found, Stored):
            return []
        names = [column.name for column in found.keys]
        return [
            order_id
            for order_id, order in self._orders.items()
            if any(tuple(row[name] for name in names) == key for row in rows_of(found, [order]))
        ]

    @cached_property
    def _orders(self) -> dict[str, OrderState]:
        """The orders as the reference model leaves them, in the shape that a read model's function takes."""
        rows = reference.read_models(self.settled.applied)["order_summary"]
        with localcontext(reference.EXACT):
            return {row["order_id"]: OrderState(**_state(row)) for row in rows}


def _meaning(told: Happening | Delivery) -> reference.Event | Broken | Tombstone:
    match told:
        case Tombstone():
            return told
        case Delivery(meant=meaning):
            if meaning.kind == "event":
                assert meaning.event is not None
                return reference.Event(meaning.event)
            order_id = meaning.order_id
            return Tombstone(order_id) if meaning.kind == "tombstone" and order_id else Broken(order_id)
    return reference.Event(meant(told))


def _state(row: Row) -> dict[str, Any]:
    state = {name: value for name, value in row.items() if name in _STATE}
    state |= {name: int(Decimal(row[name]) * money.UNITS_PER_ONE) for name in _MONEY}
    return state | {name: None if row[name] is None else json.dumps(row[name], ensure_ascii=False) for name in _JSON}
