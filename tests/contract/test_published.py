"""The published contract is what the code says, and is what it calls itself: JSON Schema, AsyncAPI."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator

from runtime.settings import Settings
from schemas import asyncapi, contracts, wire
from schemas.event_samples import SAMPLES
from schemas.events import DATA_OF, Event
from tests.contract.judges import EVENT_TYPES, EcmaValidator, Rec, code_takes, schema_of, schema_takes

HERE = Path(__file__).parent
ASYNCAPI: Any = yaml.safe_load((contracts.FOLDER / "asyncapi.yaml").read_text("utf-8"))


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
        '-          "minItems": 2,',
        '+          "minItems": 1,',
    ]
    assert contracts.main(["--write"], tmp_path) == 0
    assert contracts.main(["--check"], tmp_path) == 0


def test_every_event_type_is_published_once() -> None:
    assert {path.stem for path in contracts.FOLDER.glob("*.json")} == set(DATA_OF) == set(SAMPLES)
    assert len({schema_of(name)["$id"] for name in EVENT_TYPES}) == len(EVENT_TYPES)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_schema_is_valid_and_its_examples_are_good_events(event_type: str) -> None:
    schema = schema_of(event_type)
    Draft202012Validator.check_schema(schema)
    for example in schema["examples"]:
        assert schema_takes(event_type, json.dumps(example).encode())
        assert code_takes(json.dumps(example).encode())


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
        EcmaValidator({**schema, "components": ASYNCAPI["components"]}).validate(value)
    as_bytes = [(name, text.encode()) for name, text in headers.items()]
    assert isinstance(wire.decode(Rec(json.dumps(payload).encode(), as_bytes)), Event)
