"""The published contract is what the code says, and means what the code does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator, ValidationError
from jsonschema.validators import extend

from runtime.settings import Settings
from schemas import asyncapi, contracts, wire
from schemas.event_samples import SAMPLES, sample_event
from schemas.events import DATA_OF, PLACED, Event, Unreadable
from tests.contract import event_cases as cases
from tests.contract import event_strategies as strategies

HERE = Path(__file__).parent
ASYNCAPI: Any = yaml.safe_load((contracts.FOLDER / "asyncapi.yaml").read_text("utf-8"))
EVENT_TYPES = sorted(DATA_OF)


def _ecma_pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    """In ECMA 262, whose patterns JSON Schema has, `$` is the end; in Python also the place before a last newline."""
    if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
        yield ValidationError(f"does not match {pattern}")


_Validator = extend(Draft202012Validator, {"pattern": _ecma_pattern})


def _published(event_type: str) -> Any:
    return json.loads((contracts.FOLDER / f"{event_type}.json").read_text("utf-8"))


SCHEMA = {name: _Validator(_published(name)) for name in EVENT_TYPES}


class Rec(NamedTuple):
    value: bytes
    headers: Any = (("content-type", b"application/cloudevents+json"),)
    key: bytes = b"o-1001"
    topic: str = "orders.events"
    partition: int = 0
    offset: int = 0
    timestamp: int = 0


def _code_takes(value: bytes) -> bool:
    return isinstance(wire.decode(Rec(value)), Event)


def _schema_takes(event_type: str, value: bytes) -> bool:
    """By a validator that reads numbers exactly."""
    return bool(SCHEMA[event_type].is_valid(json.loads(value, parse_float=Decimal)))


def _table(table: dict[str, list[cases.Case]]) -> list[Any]:
    return [pytest.param(kind, *case, id=_name(kind, *case)) for kind in table for case in table[kind]]


def _name(*parts: str | None) -> str:
    return " ".join((part or "absent")[:40] for part in parts).encode("unicode_escape").decode()


# --- the files


def test_the_published_files_are_what_the_code_makes(capsys: pytest.CaptureFixture[str]) -> None:
    assert contracts.main(["--check"]) == 0, capsys.readouterr().out


def test_a_drift_is_shown_as_a_diff_and_mended_by_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contracts.write(tmp_path)
    changed = tmp_path / "order.placed.json"
    changed.write_text(changed.read_text("utf-8").replace('"minItems": 1', '"minItems": 2'), "utf-8")
    (tmp_path / "order.forgotten.json").write_text("{}\n", "utf-8")
    assert contracts.main(["--check"], tmp_path) == 1
    shown = capsys.readouterr().out.splitlines()
    assert {"--- published/order.placed.json", "--- published/order.forgotten.json"} <= set(shown)
    assert [line.strip() for line in shown if "minItems" in line] == [
        '-          "minItems": 2',
        '+          "minItems": 1',
    ]
    assert contracts.main(["--write"], tmp_path) == 0
    assert contracts.main(["--check"], tmp_path) == 0


def test_every_event_type_is_published_once() -> None:
    assert {path.stem for path in contracts.FOLDER.glob("*.json")} == set(DATA_OF) == set(SAMPLES)
    assert len({_published(name)["$id"] for name in EVENT_TYPES}) == len(EVENT_TYPES)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_schema_is_valid_and_its_examples_are_good_events(event_type: str) -> None:
    schema = _published(event_type)
    Draft202012Validator.check_schema(schema)
    for example in schema["examples"]:
        assert _schema_takes(event_type, json.dumps(example).encode())
        assert _code_takes(json.dumps(example).encode())


# --- the AsyncAPI document


def test_the_asyncapi_document_is_valid_by_the_official_schema() -> None:
    official = json.loads((HERE / "asyncapi-3.1.0.json").read_text("utf-8"))
    assert [error.message for error in Draft7Validator(official).iter_errors(ASYNCAPI)] == []


def test_the_official_schema_would_have_found_an_error() -> None:
    official = json.loads((HERE / "asyncapi-3.1.0.json").read_text("utf-8"))
    wrong = json.loads(json.dumps(ASYNCAPI).replace('"action": "receive"', '"action": "publish"'))
    assert not Draft7Validator(official).is_valid(wrong)


def test_every_reference_in_the_asyncapi_document_leads_somewhere() -> None:
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(ASYNCAPI))):
        there = ASYNCAPI
        for name in reference.split("/"):
            there = there[name]


def test_topic_and_group_are_the_settings_defaults() -> None:
    assert Settings.model_fields["group_id"].default == asyncapi.GROUP
    assert Settings.model_fields["topics"].default == (asyncapi.TOPIC,)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_binary_message_example_fits_its_own_schemas_and_the_code(event_type: str) -> None:
    message = ASYNCAPI["components"]["messages"][event_type]
    headers, payload = message["examples"][0]["headers"], message["examples"][0]["payload"]
    trait = ASYNCAPI["components"]["messageTraits"]["cloudEventsBinary"]
    for schema, value in [(trait["headers"], headers), (message["headers"], headers), (message["payload"], payload)]:
        _Validator({**schema, "components": ASYNCAPI["components"]}).validate(value)
    as_bytes = [(name, text.encode()) for name, text in headers.items()]
    assert isinstance(wire.decode(Rec(json.dumps(payload).encode(), as_bytes)), Event)


# --- schema and code mean the same


@pytest.mark.parametrize(("path", "raw"), [pytest.param(*c, id=_name(*c)) for c in cases.GOOD_ATTRIBUTES])
def test_good_attributes_are_taken_by_both(path: str, raw: str) -> None:
    for event_type in EVENT_TYPES:
        event = sample_event(event_type)
        value = cases.changed(event_type, path, raw)
        if path == "data_base64" and "data" not in event:
            continue
        assert (_code_takes(value), _schema_takes(event_type, value)) == (True, True), event_type


@pytest.mark.parametrize(("path", "raw"), [pytest.param(*c, id=_name(*c)) for c in cases.BAD_ATTRIBUTES])
def test_bad_attributes_are_refused_by_both(path: str, raw: str | None) -> None:
    for event_type in EVENT_TYPES:
        value = cases.changed(event_type, path, raw)
        assert (_code_takes(value), _schema_takes(event_type, value)) == (False, False), event_type


@pytest.mark.parametrize(("event_type", "path", "raw"), _table(cases.GOOD_DATA))
def test_good_data_is_taken_by_both(event_type: str, path: str, raw: str | None) -> None:
    value = cases.changed(event_type, path, raw)
    assert (_code_takes(value), _schema_takes(event_type, value)) == (True, True)
    assert SCHEMA[event_type].is_valid(json.loads(value)), "refused where numbers are binary floats"


@pytest.mark.parametrize(("event_type", "path", "raw"), _table(cases.BAD_DATA))
def test_bad_data_is_refused_by_both(event_type: str, path: str, raw: str | None) -> None:
    value = cases.changed(event_type, path, raw)
    assert (_code_takes(value), _schema_takes(event_type, value)) == (False, False)


@pytest.mark.parametrize(("path", "raw"), [pytest.param(*c, id=_name(*c)) for c in cases.BEYOND_JSON_SCHEMA])
def test_what_json_schema_cannot_say_is_refused_by_the_code_alone(path: str, raw: str) -> None:
    value = cases.changed(PLACED, path, raw)
    assert not _code_takes(value)
    assert SCHEMA[PLACED].is_valid(json.loads(value))


@pytest.mark.parametrize("version", ["0", '"0"', "-1"])
def test_an_older_version_is_read_but_is_not_this_schemas(version: str) -> None:
    value = cases.changed("order.shipped", "schemaversion", version)
    assert _code_takes(value)
    assert not _schema_takes("order.shipped", value)


def test_data_in_base64_counts_where_there_is_no_data() -> None:
    event = {**sample_event("order.line_removed"), "data_base64": "eyJza3UiOiAiQ1VQLTEifQ=="}
    del event["data"]
    value = json.dumps(event).encode()
    assert _code_takes(value)
    assert _schema_takes("order.line_removed", value)
    assert not _schema_takes("order.line_removed", cases.with_change(event, "data_base64", "not base64"))


def test_the_greatest_amount_is_a_number_only_where_numbers_are_exact() -> None:
    value = cases.changed(PLACED, "data.lines.0.unit_price", "99999999999999.9999")
    assert _code_takes(value)
    assert _schema_takes(PLACED, value)
    assert not SCHEMA[PLACED].is_valid(json.loads(value)), "as a binary float it is 10^14"


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_good_event_is_taken_by_both(data: st.DataObject) -> None:
    event_type = data.draw(st.sampled_from(EVENT_TYPES))
    value = cases.with_change({**data.draw(strategies.events(event_type)), "": 0}, "", None)
    assert not isinstance(decoded := wire.decode(Rec(value)), Unreadable), decoded.why
    assert _schema_takes(event_type, value)


@given(st.data())
@settings(max_examples=500, deadline=None)
def test_of_any_change_to_a_good_event_both_think_the_same(data: st.DataObject) -> None:
    event_type = data.draw(st.sampled_from(EVENT_TYPES))
    event = data.draw(strategies.events(event_type))
    # An older schemaversion is read, but by no published schema.
    path = data.draw(st.sampled_from([path for path in strategies.paths(event) if path != "schemaversion"]))
    value = cases.with_change(event, path, data.draw(st.none() | strategies.anything))
    if path == "type":
        return  # an unknown type is an event too, but another schema's
    assert _code_takes(value) == _schema_takes(event_type, value)
