"""What PostgreSQL would refuse to write, given / when / then refuses too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

import pytest

from consumer.read_models import Contribution, Document
from consumer.read_models.kinds import Column, Type, columns
from schemas.order import OrderState
from testkit.events import Order, line
from testkit.specification import Specification

NUL, HALF = "a\x00b", "\ud800"
DAY, NOW = date(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC)


class Sums(Contribution):
    """One key and one value, of whatever type is asked for."""

    name = "sums"
    version = 1
    depends_on = ("total",)

    def __init__(self, key: Any, value: Any, kind: Type = Type.TEXT, number: Type = Type.COUNT) -> None:
        self.keys, self.values = columns(k=kind), columns(n=number)
        self._row = (key,), (value,)

    def contributions(self, order: OrderState) -> Iterator[tuple[tuple[Any, ...], tuple[int, ...]]]:
        yield self._row


class Rows(Document):
    name = "rows"
    version = 1
    keys = columns(order_id=Type.TEXT)
    depends_on = ("total",)

    def __init__(self, value: Any, kind: Type) -> None:
        self.values: tuple[Column, ...] = columns(x=kind)
        self._value = value

    def row(self, order: OrderState) -> Mapping[str, Any] | None:
        return {"x": self._value}


def refusal(model: Contribution | Document) -> str:
    with pytest.raises((TypeError, ValueError)) as caught:
        Specification(model).when(Order().placed()).then()
    assert f"{model.name} after order.placed (o-1-1):" in caught.value.__notes__
    return str(caught.value)


@pytest.mark.parametrize("kind", Type)
def test_nothing_is_no_key(kind: Type) -> None:
    assert refusal(Sums(None, 1, kind)) == "k: None can't stand in a key"


@pytest.mark.parametrize("kind", [Type.COUNT, Type.QUANTITY, Type.MONEY])
def test_nothing_is_no_number(kind: Type) -> None:
    assert "x: None can't stand in" in refusal(Rows(None, kind))


@pytest.mark.parametrize("kind", [Type.TEXT, Type.TIMESTAMP, Type.DAY])
def test_nothing_else_may_be_nothing(kind: Type) -> None:
    Specification(Rows(None, kind)).when(Order().placed()).then({"order_id": "o-1", "x": None})


@pytest.mark.parametrize("beyond", [2**63, -(2**63) - 1])
def test_a_count_has_64_bits(beyond: int) -> None:
    for model in (Sums("k", beyond), Rows(beyond, Type.COUNT), Sums(beyond, 1, Type.COUNT)):
        assert "is beyond 64 bits" in refusal(model)


def test_a_sum_of_counts_has_64_bits_too() -> None:
    orders = Specification(Sums("k", 2**62)).given(Order("o-1").placed())
    orders.then({"k": "k", "n": 2**62})
    with pytest.raises(ValueError, match="is beyond 64 bits"):
        orders.when(Order("o-2").placed()).then()


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63)])
def test_64_bits_are_a_count_and_any_number_is_a_quantity(number: int) -> None:
    Specification(Sums("k", number)).when(Order().placed()).then({"k": "k", "n": number})
    huge = Sums("k", 10 * number, number=Type.QUANTITY)
    Specification(huge).when(Order().placed()).then({"k": "k", "n": 10 * number})


@pytest.mark.parametrize(("text", "why"), [(NUL, "NUL"), (HALF, "half a surrogate pair")])
def test_a_text_is_of_characters(text: str, why: str) -> None:
    for model in (Sums(text, 1), Rows(text, Type.TEXT)):
        assert why in refusal(model)


@pytest.mark.parametrize("key", ["x" * 2_700, "\N{EURO SIGN}" * 900])
def test_a_key_is_no_longer_than_an_index_entry(key: str) -> None:
    assert "an index entry holds 2,704" in refusal(Sums(key, 1))
    Specification(Rows(key, Type.TEXT)).when(Order().placed()).then({"order_id": "o-1", "x": key})


@pytest.mark.parametrize(("key", "kind"), [("x" * 2_600, Type.TEXT), (DAY, Type.DAY), (NOW, Type.TIMESTAMP)])
def test_what_fits_is_a_key(key: Any, kind: Type) -> None:
    Specification(Sums(key, 1, kind)).when(Order().placed()).then({"k": key, "n": 1})


class ByAddress(Sums):
    """Forgets that an address may come later."""

    depends_on = ("shipping_address",)

    def contributions(self, order: OrderState) -> Iterator[tuple[tuple[Any, ...], tuple[int, ...]]]:
        yield (order.shipping_address,), (1,)


class Totals(Rows):
    """Forgets that a total has no limit."""

    def row(self, order: OrderState) -> Mapping[str, Any] | None:
        return {"x": order.total}


def test_what_comes_and_goes_has_to_be_storable_as_well() -> None:
    order = Order()
    addressed = [order.placed(), order.address_changed(country="FR")]
    with pytest.raises(TypeError, match="k: None can't stand in a key"):
        Specification(ByAddress("k", 1)).given(*addressed).then()
    order = Order()
    reduced = [order.placed(line("gold", 10**20)), order.line_removed("gold")]
    with pytest.raises(ValueError, match="is beyond 64 bits"):
        Specification(Totals(0, Type.COUNT)).given(*reduced).then({"order_id": "o-1", "x": 0})
