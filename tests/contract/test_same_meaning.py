"""What the code takes and refuses, its published schema takes and refuses; where it can't, that is written down."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import wire
from schemas.event_samples import sample_event
from schemas.events import PLACED, Unreadable
from tests.contract import event_cases as cases
from tests.contract import event_strategies as strategies
from tests.contract.judges import EVENT_TYPES, SCHEMA, Rec, code_takes, schema_takes


def _table(table: dict[str, list[cases.Case]]) -> list[Any]:
    return [pytest.param(kind, *case, id=_name(kind, *case)) for kind in table for case in table[kind]]


def _name(*parts: str | None) -> str:
    return " ".join((part or "absent")[:40] for part in parts).encode("unicode_escape").decode()


@pytest.mark.parametrize(("path", "raw"), [pytest.param(*c, id=_name(*c)) for c in cases.GOOD_ATTRIBUTES])
def test_good_attributes_are_taken_by_both(path: str, raw: str) -> None:
    for event_type in EVENT_TYPES:
        value = cases.changed(event_type, path, raw)
        assert (code_takes(value), schema_takes(event_type, value)) == (True, True), event_type


@pytest.mark.parametrize(("path", "raw"), [pytest.param(*c, id=_name(*c)) for c in cases.BAD_ATTRIBUTES])
def test_bad_attributes_are_refused_by_both(path: str, raw: str | None) -> None:
    for event_type in EVENT_TYPES:
        value = cases.changed(event_type, path, raw)
        assert (code_takes(value), schema_takes(event_type, value)) == (False, False), event_type


@pytest.mark.parametrize(("event_type", "path", "raw"), _table(cases.GOOD_DATA))
def test_good_data_is_taken_by_both(event_type: str, path: str, raw: str | None) -> None:
    value = cases.changed(event_type, path, raw)
    assert (code_takes(value), schema_takes(event_type, value)) == (True, True)
    assert SCHEMA[event_type].is_valid(json.loads(value)), "refused where numbers are binary floats"


@pytest.mark.parametrize(("event_type", "path", "raw"), _table(cases.BAD_DATA))
def test_bad_data_is_refused_by_both(event_type: str, path: str, raw: str | None) -> None:
    value = cases.changed(event_type, path, raw)
    assert (code_takes(value), schema_takes(event_type, value)) == (False, False)


@pytest.mark.parametrize(("path", "raw"), [pytest.param(*c, id=_name(*c)) for c in cases.BEYOND_JSON_SCHEMA])
def test_what_json_schema_cannot_say_is_refused_by_the_code_alone(path: str, raw: str) -> None:
    value = cases.changed(PLACED, path, raw)
    assert not code_takes(value)
    assert SCHEMA[PLACED].is_valid(json.loads(value))


@pytest.mark.parametrize(("event_type", "instead"), cases.NOT_PROMISED)
def test_what_the_code_reads_without_a_promise_is_in_no_schema(event_type: str, instead: dict[str, Any]) -> None:
    value = json.dumps({**sample_event(event_type), **instead}).encode()
    assert code_takes(value)
    assert not schema_takes(event_type, value)


def test_data_in_base64_counts_where_there_is_no_data() -> None:
    event = {**sample_event("order.line_removed"), "data_base64": "eyJza3UiOiAiQ1VQLTEifQ=="}
    del event["data"]
    value = json.dumps(event).encode()
    assert code_takes(value)
    assert schema_takes("order.line_removed", value)
    assert not schema_takes("order.line_removed", cases.with_change(event, "data_base64", "not base64"))


def test_the_greatest_amount_is_a_number_only_where_numbers_are_exact() -> None:
    value = cases.changed(PLACED, "data.lines.0.unit_price", "99999999999999.9999")
    assert code_takes(value)
    assert schema_takes(PLACED, value)
    assert not SCHEMA[PLACED].is_valid(json.loads(value)), "as a binary float it is 10^14"


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_good_event_is_taken_by_both(data: st.DataObject) -> None:
    event_type = data.draw(st.sampled_from(EVENT_TYPES))
    value = cases.with_change({**data.draw(strategies.events(event_type)), "": 0}, "", None)
    assert not isinstance(decoded := wire.decode(Rec(value)), Unreadable), decoded.why
    assert schema_takes(event_type, value)


@given(st.data())
@settings(max_examples=250, deadline=None)
def test_of_any_change_to_a_good_event_both_think_the_same(data: st.DataObject) -> None:
    event_type = data.draw(st.sampled_from(EVENT_TYPES))
    event = data.draw(strategies.events(event_type))
    # An older schemaversion is read, but by no published schema.
    path = data.draw(st.sampled_from([path for path in strategies.paths(event) if path != "schemaversion"]))
    value = cases.with_change(event, path, data.draw(st.none() | strategies.anything))
    if path == "type":
        return  # an unknown type is an event too, but another schema's
    assert code_takes(value) == schema_takes(event_type, value)
