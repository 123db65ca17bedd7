"""What a verification has found, for people and for machines."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

from cli.letters import counted, plain
from consumer.reference import Difference
from consumer.verification.findings import Aside, Check, Findings
from consumer.verification.run import Plan

_WIDEST = 60  # characters of a value
_FEW = 5  # orders that are mended one by one


def report(console: Console, plan: Plan, findings: Findings) -> None:
    """Print it."""
    _say(console, _title(plan))
    table = Table()
    for name in ("what", "expected rows", "found", "differences"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for check in findings.checks.values():
        name = f"{check.name} (by its own code)" if check.own else check.name
        table.add_row(plain(name), f"{check.expected:,}", f"{check.found:,}", f"{check.differences:,}")
    console.print(table)
    for check in findings.checks.values():
        if check.first:
            console.print(_differences(check))
    for line in _lines(plan, findings):
        _say(console, line)


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def as_json(plan: Plan, findings: Findings) -> str:
    """One object, for machines."""
    sample = plan.sample
    return json.dumps(
        {
            "source": plan.source,
            "read_models": list(plan.names) or None,
            "order": plan.order_id,
            "sample": None if sample is None else {"percent": float(sample.percent), "seed": sample.seed},
            "records": findings.records,
            "applied_up_to": findings.upto,
            "equal": findings.differences == 0,
            "differences": findings.differences,
            "checks": [_check(check) for check in findings.checks.values()],
            "only_in_database": _aside(findings.only_in_database),
            "erased_without_tombstone": _aside(findings.erased_without_tombstone),
            "letters_without_record": _aside(findings.letters_without_record),
            "left_to_letters": _aside(findings.left_to_letters),
            "not_checked": findings.not_checked,
        },
        default=_plain,
        ensure_ascii=False,
    )


def _title(plan: Plan) -> str:
    origin = "Kafka's log" if plan.source == "log" else "the journal"
    if plan.order_id is not None:
        return plain(f"Order {plan.order_id} against a recomputation from {origin}")
    if plan.sample is not None:
        origin += f"; orders: a sample of {plan.sample.percent} %, seed {plan.sample.seed}; sums: of all orders"
    return f"Live against a recomputation from {origin}"


def _differences(check: Check) -> Table:
    table = Table("key", "column", "expected", "found", title=f"{check.name}, the first {len(check.first)} differences")
    if len(check.first) == check.differences:
        table.title = f"{check.name}, differences"
    for one in check.first:
        table.add_row(*map(_short, (" ".join(map(str, one.key)), one.column or "row", *_sides(one))))
    return table


def _sides(one: Difference) -> tuple[object, object]:
    if isinstance(one.expected, list) and isinstance(one.actual, list):
        return _count(one.expected), _count(one.actual)
    return one.expected, one.actual


def _count(rows: list[Any]) -> str:
    return "none" if not rows else "there" if len(rows) == 1 else f"{len(rows)} rows"


def _short(value: object) -> str:
    text = plain("none" if value is None else _plain(value) if isinstance(value, date | Decimal) else value)
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}…"


def _lines(plan: Plan, findings: Findings) -> list[str]:
    lines = [f"{counted(findings.records, 'record')} of the log read"] if plan.source == "log" else []
    lines += _told(
        "event", findings.only_in_database, "applied or parked, and not in the part of the log that was read"
    )
    lines += _told("order", findings.erased_without_tombstone, "erased without a tombstone in the log")
    lines += _told("letter", findings.letters_without_record, "of records that the log doesn't hold: not checked")
    lines += _told("record", findings.left_to_letters, "left out, as their letters say")
    lines += [f"not checked: {plain(name)}, {why}" for name, why in findings.not_checked.items()]
    if plan.source == "journal":
        lines.append("not checked: dead letters, and whether the journal has every event that was sent (--source log)")
    if not findings.differences:
        return [*lines, "Every row is equal."]
    return [*lines, f"{counted(findings.differences, 'difference')}.", *_mend(plan, findings)]


def _told(noun: str, aside: Aside, what: str) -> list[str]:
    return [f"{counted(aside.count, noun)} {what}", *(f"  {plain(one)}" for one in aside.examples)] * bool(aside.count)


def _mend(plan: Plan, findings: Findings) -> list[str]:
    """What would put it right: records that were missed first, then the ledger, from which orders are made, then those,
    then sums."""
    wrong = [check for check in findings.checks.values() if check.differences]
    names = {check.name for check in wrong}
    missed = "orders" in names and plan.source == "log"
    if names & {"processed_events", "order_timeline"} and not missed:
        return [f"The ledger is damaged. {_WHY} `projector rebuild --source log --accept-differences`."]
    if names & {"processed_events", "order_timeline", "parked_events", "dead_letters"}:
        return [f"Records were missed, or what became of them is lost. {_WHY} `projector replay --all --execute`."]
    if orders := _few_orders(wrong, findings.differences):
        return [f"{_WHY}", *(f"  projector rebuild --order {plain(order)}" for order in orders)]
    only = [check.name for check in wrong if check.sums]
    which = " ".join(["projector rebuild", *(only if len(only) == len(wrong) else ())])
    source = "" if plan.source == "log" else " --source journal"
    return [f"{_WHY} `{plain(which)}{source} --accept-differences`."]


_WHY = "Once you know why:"


def _few_orders(wrong: list[Check], differences: int) -> list[str]:
    """The orders, if they are all that is wrong, and few."""
    orders = dict.fromkeys(str(one.key[0]) for check in wrong for one in check.first)
    shown = sum(len(check.first) for check in wrong)
    mended = shown == differences and len(orders) <= _FEW and not any(check.sums or check.own for check in wrong)
    return list(orders) if mended else []


def _check(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "by": "its own code" if check.own else "reference",
        "expected": check.expected,
        "found": check.found,
        "differences": check.differences,
        "first": [
            {"key": list(one.key), "column": one.column, "expected": one.expected, "found": one.actual}
            for one in check.first
        ],
    }


def _aside(aside: Aside) -> dict[str, Any]:
    return {"count": aside.count, "first": aside.examples}


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime | date) else str(value)
