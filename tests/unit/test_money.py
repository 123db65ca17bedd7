"""Money: exact in, exact out."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import money

amounts = st.from_regex(money.PATTERN.removeprefix("^").removesuffix("$"), fullmatch=True, alphabet="0123456789.")


@given(amounts)
def test_units_are_ten_thousandths_of_what_the_text_says(text: str) -> None:
    assert money.units(text) == int(Decimal(text) * 10_000)
    assert Decimal(money.text(money.units(text))) == Decimal(text)


@given(st.integers())
def test_text_says_any_sum_with_four_places_and_its_sign(amount: int) -> None:
    text = money.text(amount)
    assert re.fullmatch(r"-?[0-9]+\.[0-9]{4}", text)
    assert int(text.replace(".", "")) == amount


@pytest.mark.parametrize(
    ("text", "units"),
    [("0", 0), ("0.0000", 0), ("12.5", 125_000), ("12.50", 125_000), ("0.0001", 1), ("0.01", 100), ("007", 70_000)],
)
def test_each_number_of_places_counts_as_it_stands(text: str, units: int) -> None:
    assert money.units(text) == units


def test_the_largest_amount_is_one_ten_thousandth_below_ten_to_the_fourteenth() -> None:
    assert money.units("9" * 14 + ".9999") == 10**18 - 1
    assert money.text(10**18) == "1" + "0" * 14 + ".0000"
    assert money.text(-1) == "-0.0001"


@pytest.mark.parametrize(
    ("number", "text"),
    [(Decimal("12.50"), "12.50"), (Decimal("1E+2"), "100"), (Decimal("1E-4"), "0.0001"), (7, "7"), (-1, "-1")],
)
def test_a_json_number_becomes_plain_digits_as_written(number: int | Decimal, text: str) -> None:
    assert money.number_text(number) == text
