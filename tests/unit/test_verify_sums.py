"""Sums put together from shares are those of all orders; what a verification has found is counted and told right."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal, localcontext
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cli import verify_report
from consumer import reference
from consumer.reference import Difference
from consumer.verification.findings import Aside, Findings
from consumer.verification.run import Plan, Source
from consumer.verification.snapshot import Sample
from consumer.verification.sums import merged
from tests.support.histories import histories

NAMES = {"customer_summary": reference.customers, "product_sales_daily": reference.sales}


@given(st.lists(st.integers(0, 30), unique=True, max_size=6), st.data(), st.integers(1, 4))
def test_shares_of_ranges_add_up_to_the_sums_of_all(numbers: list[int], data: st.DataObject, size: int) -> None:
    drawn = [data.draw(histories(order=f"o-{number:02d}", most=3)) for number in sorted(numbers)]
    with localcontext(reference.EXACT):
        orders = [reference.summary(history) for history in drawn]
        for name, rows in NAMES.items():
            key = reference.KEYS[name]
            shares = [row for first in range(0, len(orders), size) for row in rows(orders[first : first + size])]
            assert _all(merged(shares, key)) == _all(rows(orders))


def _all(rows: list[dict[str, Any]]) -> Counter[str]:
    return Counter(str(sorted((name, str(_number(value))) for name, value in row.items())) for row in rows)


def _number(value: Any) -> Any:
    return Decimal(value).normalize(reference.EXACT) if isinstance(value, int | Decimal) else value


def test_a_row_of_zeros_is_none() -> None:
    shares = [{"k": 1, "n": 2}, {"k": 2, "n": 1}, {"k": 1, "n": -2}]
    assert merged(shares, ["k"]) == [{"k": 2, "n": 1}]


def findings() -> Findings:
    found = Findings(limit=2)
    found.check("order_summary")
    found.check("orders_by_country", own=True, sums=True)
    return found


def test_differences_are_counted_and_the_first_are_kept() -> None:
    found = findings()
    rows: list[dict[str, Any]] = [{"order_id": str(n), "version": n} for n in range(5)]
    found.compare("order_summary", rows, [{**row, "version": 1} for row in rows])
    found.compare("order_summary", rows[:1], [])
    found.equal("orders", 7)
    check = found.checks["order_summary"]
    assert (check.expected, check.found, check.differences, found.differences) == (6, 5, 5, 5)
    assert check.first == [Difference(("0",), "version", 0, 1), Difference(("2",), "version", 2, 1)]
    assert (found.checks["orders"].expected, found.checks["orders"].found) == (7, 7)


def test_only_a_few_examples_are_kept() -> None:
    aside = Aside()
    for number in range(9):
        aside.add(str(number))
    assert (aside.count, aside.examples) == (9, ["0", "1", "2", "3", "4"])


def shown(plan: Plan, found: Findings) -> list[str]:
    out = StringIO()
    verify_report.report(Console(file=out, width=120), plan, found)
    return out.getvalue().splitlines()


def test_a_person_sees_what_differs_and_how_to_mend_it() -> None:
    found = findings()
    found.compare("order_summary", [{"order_id": "a\x1b[1m", "x": None}], [{"order_id": "a\x1b[1m", "x": "y" * 99}])
    text = "\n".join(shown(Plan(source="log"), found))
    assert "a\\x1b[1m" in text
    assert f"{'y' * 60}…" in text
    assert "1 difference.\nOnce you know why:\n  projector rebuild --order a\\x1b[1m" in text


@pytest.mark.parametrize(
    ("names", "source", "said"),
    [
        (["orders_by_country"], "log", "why: `projector rebuild orders_by_country --accept-differences`."),
        (["order_summary", "orders_by_country"], "log", "why: `projector rebuild --accept-differences`."),
        (
            ["order_summary", "orders_by_country"],
            "journal",
            "`projector rebuild --source journal --accept-differences`",
        ),
        (["order_timeline"], "log", "The ledger is damaged."),
        (["processed_events", "orders"], "journal", "`projector rebuild --source log --accept-differences`"),
        (["processed_events", "orders"], "log", "`projector replay --all --execute`"),
        (["dead_letters"], "log", "`projector replay --all --execute`"),
        (["parked_events"], "log", "`projector replay --all --execute`"),
        (["orders"], "log", "  projector rebuild --order k"),
        ([], "log", "Every row is equal."),
    ],
)
def test_how_to_mend_it_is_told_by_what_differs(names: list[str], source: Source, said: str) -> None:
    found = findings()
    for name in names:
        found.differ(name, ("k",), "c", 1, 2)
    assert said in shown(Plan(source), found)[-1]


def test_many_orders_are_mended_at_once() -> None:
    found = Findings(limit=20)
    for number in range(6):
        found.differ("order_summary", (f"o-{number}",), "c", 1, 2)
    assert "`projector rebuild --accept-differences`" in shown(Plan(), found)[-1]


def test_what_is_no_difference_is_told_too() -> None:
    found = findings()
    found.only_in_database.add("order a, version 1")
    found.not_checked["mine"] = "a view of its own"
    lines = shown(Plan(sample=Sample(Decimal("2.5"), 7)), found)
    assert "1 event applied or parked, and not in the part of the log that was read" in lines
    assert "  order a, version 1" in lines
    assert "not checked: mine, a view of its own" in lines
    assert any("a sample of 2.5 %, seed 7" in line for line in lines)


def test_machines_get_it_all_in_one_object() -> None:
    found = findings()
    found.differ(
        "order_summary", ("a", reference.instant("2026-01-01T00:00:00Z")), None, [{"total": Decimal("1.50")}], []
    )
    found.differ("order_summary", ("b",), "units", 10**30, Decimal("0.1"))
    told = json.loads(verify_report.as_json(Plan(sample=Sample(Decimal(5), 1)), found))
    assert (told["equal"], told["differences"], told["sample"]) == (False, 2, {"percent": 5.0, "seed": 1})
    summary = told["checks"][0]
    assert summary["first"][0]["key"] == ["a", "2026-01-01T00:00:00+00:00"]
    assert summary["first"][0]["expected"] == [{"total": "1.50"}]
    assert summary["first"][1] == {"key": ["b"], "column": "units", "expected": 10**30, "found": "0.1"}
    assert told["checks"][1]["by"] == "its own code"
