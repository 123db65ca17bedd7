"""What readers of the fault suite take for torn, on made-up looks."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any, cast

import pytest

from tests.faults.onlookers import Onlooker, Seen, torn


def order(name: str = "o-1", **more: Any) -> dict[str, Any]:
    usual = {"order_id": name, "version": 3, "currency": "EUR", "status": "paid", "total": Decimal(25)}
    usual |= {"refunded": Decimal(0), "delivered_at": None, "cancelled_at": None}
    return {**usual, "ready": True, "told": 3, "queued": True, **more}


def sums(**more: Any) -> dict[str, Any]:
    counts = {"orders": 1, "open_orders": 1, "delivered_orders": 0, "cancelled_orders": 0}
    return {"customer_id": "c-1", "currency": "EUR", **counts, "revenue": Decimal(25), **more}


def test_what_belongs_together_is_not_torn() -> None:
    assert torn([], []) == []
    assert torn([order()], [sums()]) == []
    assert torn([order(), order("o-2", currency="USD")], [sums(), sums(currency="USD")]) == []
    ended = order(cancelled_at="2026", status="refunded", ready=False, queued=False)
    assert torn([ended], [sums(open_orders=0, cancelled_orders=1, revenue=Decimal(0))]) == []


@pytest.mark.parametrize(
    ("orders", "theirs", "said"),
    [
        ([order(told=2)], [sums()], "o-1 at 3 has a timeline of 2"),
        ([order(queued=False)], [sums()], "o-1 is not queued and should not be so"),
        ([order(ready=False)], [sums()], "o-1 is queued and should not be so"),
        ([order()], [sums(revenue=Decimal(26))], "revenue of a customer is 26, its orders make 25"),
        ([order(), order("o-2")], [sums()], "orders of a customer is 1, its orders make 2"),
        ([], [sums()], "orders of a customer is 1, its orders make 0"),
        ([order()], [], "orders of a customer is None, its orders make 1"),
        ([order(delivered_at="2026")], [sums()], "delivered_orders of a customer is 0, its orders make 1"),
    ],
)
def test_what_does_not_is_told(orders: list[Any], theirs: list[Any], said: str) -> None:
    assert said in torn(orders, theirs)


def test_an_order_that_goes_back_is_told_and_remembered_as_it_was() -> None:
    reader = Onlooker(cast(Any, None), Random(1))
    for version in (3, 4, 3):
        reader.look([order(version=version, told=version)], [sums()])
    assert reader.wrong == ["o-1 went back from 4 to 3"]
    assert reader.seen == {"o-1": 4}


def test_percentiles_are_looks_that_were_really_measured() -> None:
    seen = Seen([0.1, 0.2, 0.3, 0.4], [], [])
    assert (seen.percentile(50), seen.percentile(99)) == (0.3, 0.4)


def test_a_slow_look_counts_as_a_swaps_own_if_it_was_under_way_around_it() -> None:
    seen = Seen([], [], [(100.0, 0.2), (103.4, 0.3), (105.0, 0.9), (110.0, 5.0)])
    assert seen.longest([104.0], 0.5) == (0.3, 5.0)
    assert seen.longest([104.0], 1.0) == (0.9, 5.0)
    assert seen.longest([112.0], 0.0) == (5.0, 0.9)
    assert seen.longest([], 1.0) == (0.0, 5.0)
