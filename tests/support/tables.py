"""The stored read models in plain dicts: deltas added up and upserted, as the statements do."""

from __future__ import annotations

from typing import Any

from consumer.read_model_store import Delta, ReadModelStore
from consumer.read_models import READ_MODELS
from schemas.events import Decoded, Event
from tests.support.books import Books

_STORE = ReadModelStore(READ_MODELS)


class Tables:
    def __init__(self) -> None:
        self.books = Books()
        self.sums: dict[str, dict[tuple[Any, ...], list[int]]] = {}
        self.rows: dict[str, dict[str, tuple[Any, ...]]] = {}

    def take(self, *events: Decoded) -> Delta:
        delta = _STORE.derive(self.books.take(events).changes.values())
        for part in delta.contributions:
            sums = self.sums.setdefault(part.model.name, {})
            for key, shares in part.sums.items():
                sums[key] = [a + b for a, b in zip(sums.get(key, [0] * len(shares)), shares, strict=True)]
        for document in delta.documents:
            rows = self.rows.setdefault(document.model.name, {})
            rows.update({row[0]: row[1:] for row in document.rows})
            for order_id in document.removed:
                del rows[order_id]
        return delta

    def customers(self) -> dict[tuple[Any, ...], tuple[int, ...]]:
        return {key: tuple(sums) for key, sums in self.sums["customer_summary"].items() if any(sums)}

    def products(self) -> dict[tuple[Any, ...], tuple[int, ...]]:
        return {key: tuple(sums) for key, sums in self.sums["product_sales_daily"].items() if any(sums)}

    def queue(self) -> dict[str, tuple[Any, ...]]:
        return self.rows["fulfilment_queue"]


def after(*events: Event) -> Tables:
    """The tables after one batch; the same as after one event at a time, and as after all of it twice."""
    whole, single = Tables(), Tables()
    whole.take(*events)
    for one in events:
        single.take(one)
        assert not changes_any(single.take(one)), "an event delivered twice"
    assert not changes_any(whole.take(*events)), "a batch delivered twice"
    assert (whole.customers(), whole.products(), whole.queue()) == (
        single.customers(),
        single.products(),
        single.queue(),
    )
    return whole


def changes_any(delta: Delta) -> bool:
    return any(any(map(any, part.sums.values())) for part in delta.contributions) or any(
        part.rows or part.removed for part in delta.documents
    )
