"""The built-in read models in plain dicts."""

from __future__ import annotations

from typing import Any

from consumer.read_models import READ_MODELS
from schemas.events import Event
from testkit.tables import Tables as AnyTables
from testkit.tables import changes_any


class Tables(AnyTables):
    def __init__(self) -> None:
        super().__init__(READ_MODELS)

    def customers(self) -> dict[tuple[Any, ...], tuple[int, ...]]:
        return {key: tuple(sums) for key, sums in self.sums["customer_summary"].items() if any(sums)}

    def products(self) -> dict[tuple[Any, ...], tuple[int, ...]]:
        return {key: tuple(sums) for key, sums in self.sums["product_sales_daily"].items() if any(sums)}

    def queue(self) -> dict[str, tuple[Any, ...]]:
        return self.documents["fulfilment_queue"]


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
