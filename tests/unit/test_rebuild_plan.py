"""What a rebuild makes anew, by what it is asked and what stands in the database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.install import STATES, makes
from consumer.read_models import READ_MODELS, View
from consumer.rebuild.plan import LEDGER, Plan, Source, choose, whole
from schemas.errors import Refused

STORED = ("customer_summary", "product_sales_daily", "fulfilment_queue")
ALL = (STATES, *STORED)


def chosen(*names: str, older: tuple[str, ...] = (), source: Source = "journal", changed: bool = False) -> Plan | None:
    """The plan where these read models stand in another make."""
    installed = {name: "older" if name in older else make for name, make in makes().items()}
    return choose(READ_MODELS, makes(), installed, names, source, changed=changed)


def made(plan: Plan | None) -> tuple[str, ...]:
    assert plan is not None
    return tuple(plan.names)


@pytest.mark.parametrize(
    ("names", "takes_over"),
    [
        ((), ALL),
        (("order_summary",), ALL),
        (("order_summary", "fulfilment_queue"), ALL),
        (("customer_summary",), ("customer_summary",)),
        (("fulfilment_queue", "customer_summary"), ("customer_summary", "fulfilment_queue")),
        (STORED, STORED),
        (("fulfilment_queue", "order_timeline"), ("fulfilment_queue",)),
    ],
)
def test_states_take_over_with_all_that_follows_from_them_and_else_only_what_was_named(
    names: tuple[str, ...], takes_over: tuple[str, ...]
) -> None:
    assert made(chosen(*names)) == takes_over


@pytest.mark.parametrize(
    ("names", "takes_over", "tables"),
    [
        ((), (*ALL, "order_timeline"), (STATES, *LEDGER, *STORED)),
        (("order_timeline",), ("order_timeline",), (*LEDGER,)),
        (("order_timeline", "order_summary"), (*ALL, "order_timeline"), (STATES, *LEDGER, *STORED)),
        (("customer_summary",), ("customer_summary",), ("customer_summary",)),
        (("order_summary",), ALL, ALL),
    ],
)
@pytest.mark.parametrize("source", ["log", "archive"])
def test_from_the_log_the_timeline_is_made_too(
    source: Source, names: tuple[str, ...], takes_over: tuple[str, ...], tables: tuple[str, ...]
) -> None:
    plan = chosen(*names, source=source)
    assert made(plan) == takes_over
    assert plan is not None
    assert tuple(plan.tables) == tables


def test_from_the_journal_the_timeline_alone_is_refused() -> None:
    with pytest.raises(Refused, match="order_timeline is the journal itself"):
        chosen("order_timeline")


def test_what_is_no_read_model_and_what_has_no_rows_are_refused_by_name() -> None:
    with pytest.raises(Refused, match="there is no read model custmer_summary, ordrs"):
        chosen("ordrs", "customer_summary", "custmer_summary")
    models = (*READ_MODELS, View("orders_of_today", 1))
    with pytest.raises(Refused, match="orders_of_today has no rows of its own"):
        choose(models, {"orders_of_today": "x"}, {}, ["orders_of_today"], "journal")


@pytest.mark.parametrize(
    ("older", "takes_over", "expected"),
    [
        (("customer_summary",), ("customer_summary",), {"customer_summary"}),
        (("fulfilment_queue", "order_timeline"), ("fulfilment_queue",), {"fulfilment_queue"}),
        ((STATES,), ALL, {STATES}),
        ((STATES, "customer_summary"), ALL, {STATES, "customer_summary"}),
    ],
)
def test_of_what_has_changed_only_that_is_made_and_expected_to_differ(
    older: tuple[str, ...], takes_over: tuple[str, ...], expected: set[str]
) -> None:
    plan = chosen(older=older, changed=True)
    assert made(plan) == takes_over
    assert plan is not None
    assert plan.changed == expected


@pytest.mark.parametrize("older", [(), ("order_summary",), ("order_timeline",)])
def test_where_nothing_with_rows_has_changed_there_is_nothing_to_do(older: tuple[str, ...]) -> None:
    assert chosen(older=older, changed=True) is None


def test_a_named_one_is_expected_to_differ_where_it_has_changed_and_others_are_not_made() -> None:
    plan = chosen("fulfilment_queue", older=("fulfilment_queue", "customer_summary"))
    assert plan is not None
    assert made(plan) == ("fulfilment_queue",)
    assert plan.changed == {"fulfilment_queue"}
    other = chosen("product_sales_daily", older=("customer_summary",))
    assert other is not None
    assert other.changed == set()


def test_where_the_fold_has_changed_nothing_is_made_without_the_states() -> None:
    assert made(chosen("fulfilment_queue", older=(STATES,))) == ALL


def test_whatever_is_made_comes_with_its_make_and_the_states() -> None:
    plan = chosen("customer_summary")
    assert plan is not None
    assert plan.makes == {name: makes()[name] for name in (STATES, "customer_summary")}


def asked(plan: Plan) -> Mapping[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(plan.as_json()))
    return found


def test_who_goes_on_with_another_run_wants_the_same_from_the_same_source_by_the_same_code() -> None:
    first = chosen("customer_summary")
    assert first is not None
    assert asked(first) == first.as_json()
    assert first.as_json() == chosen("customer_summary").as_json()  # type: ignore[union-attr]  # as before: there
    copy = whole(READ_MODELS, makes(), "log", "as_of_x")
    others = [
        chosen("fulfilment_queue"),
        chosen(),
        chosen("customer_summary", source="log"),
        chosen(source="log"),
        copy,
    ]
    newer = choose(READ_MODELS, {**makes(), STATES: "fold 9"}, makes(), ["customer_summary"], "journal")
    plans = [plan.as_json() for plan in (first, newer, *others) if plan is not None]
    assert all(one != another for place, one in enumerate(plans) for another in plans[:place])


@given(
    names=st.sets(st.sampled_from([*STORED, "order_summary"])),
    older=st.sets(st.sampled_from([*ALL, "order_summary", "order_timeline"])),
    changed=st.booleans(),
    source=st.sampled_from(["log", "journal"]),
)
def test_sums_never_stay_behind_where_the_states_take_over(
    names: set[str], older: set[str], changed: bool, source: Source
) -> None:
    plan = chosen(*names, older=tuple(older), changed=changed, source=source)
    if plan is None:
        assert not older & {*ALL}
        return
    assert not plan.states or plan.stored == STORED
    assert plan.states or STATES not in older
    assert changed or not names or names <= {*plan.names, "order_summary"}
    assert plan.changed <= {*plan.names} & older
