"""The README and the docs say what the code does: settings, commands, metrics, logs, links, the example."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import typer
from pydantic import SecretStr

from api.app import service
from cli.main import app
from consumer.observation import Observation
from consumer.read_models import READ_MODELS
from producer.relay_observation import RelayObservation
from producer.saga_observation import SagaObservation
from runtime.settings import Settings, load
from schemas.migrate import migrations

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = [
    path
    for name in ("schemas", "runtime", "consumer", "producer", "api", "cli")
    for path in (ROOT / name).rglob("*.py")
]


def section(text: str, heading: str) -> str:
    """The text under a heading, up to the next one of its level."""
    level, found = heading.split(" ", maxsplit=1)[0], text.split(f"\n{heading}\n")
    assert len(found) == 2, f"{heading!r} has to be there once"
    return re.split(rf"^#{{1,{len(level)}}} ", found[1], flags=re.MULTILINE)[0]


def table(text: str) -> list[tuple[str, ...]]:
    """The rows of the first table, without its head."""
    body = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    lines = body[0].splitlines() if body else []
    return [tuple(cell.strip() for cell in re.split(r" \|(?= )", line.strip("|"))) for line in lines[2:]]


def first_column(text: str) -> list[str]:
    return [row[0].strip("|` ") for row in table(text)]


def commands(command: Any = None, prefix: str = "projector") -> Iterator[str]:
    """Every command that can be typed."""
    command = command or typer.main.get_command(app)
    below = getattr(command, "commands", None)
    if below is None:
        yield prefix
    else:
        for name, one in below.items():
            yield from commands(one, f"{prefix} {name}")


def default(value: Any) -> str:
    plain = value.get_secret_value() if isinstance(value, SecretStr) else value
    match plain:
        case None | "" | ():
            return "not set"
        case bool():
            return f"`{str(plain).lower()}`"
        case tuple():
            return f"`{','.join(plain)}`"
        case float():
            return f"`{plain:g}`"
    return f"`{plain}`"


def test_every_setting_is_tabled_with_its_default_and_meaning() -> None:
    expected = [
        (f"`{field.validation_alias}`", default(field.default), str(field.description))
        for field in Settings.model_fields.values()
    ]
    assert sorted(table(section(README, "## Settings"))) == sorted(expected)


def test_every_command_is_tabled() -> None:
    assert sorted(first_column(section(README, "## Commands"))) == sorted(commands())


def test_what_is_not_there_yet_is_not_there() -> None:
    missing = section(README, "### Not there yet") if "### Not there yet" in README else ""
    promised = re.findall(r"`(projector [a-z-]+(?: [a-z-]+)?)`[:; ]", missing)
    assert not (set(promised) - {"projector demo"}) & set(commands())


def test_every_read_model_is_tabled() -> None:
    tabled = first_column(section(README, "### What readers get"))
    assert tabled == [f"read_model.{model.name}" for model in READ_MODELS]


def test_every_metric_is_tabled() -> None:
    served = service(load({}), MagicMock(), MagicMock(), b"s" * 32, dev=True).registry
    registries = (Observation().registry, RelayObservation().registry, SagaObservation().registry, served)
    exported = {metric.name: metric.type for registry in registries for metric in registry.collect()}
    names = [f"{name}_total" if kind == "counter" else name for name, kind in exported.items()]
    assert sorted(first_column(section(OPERATIONS, "## Metrics"))) == sorted(names)


def test_every_log_event_is_tabled_with_its_level_and_fields() -> None:
    tabled = [(row[0].strip("|` "), row[1], row[2]) for row in table(section(OPERATIONS, "## Logs"))]
    assert sorted(tabled) == sorted(log_events())


def log_events() -> Iterator[tuple[str, str, str]]:
    """(event, level, fields) of every `_log.<level>(…)` in the code."""
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_log(node.func.value):
                event = node.args[0]
                assert isinstance(event, ast.Constant)
                fields = [f"`{word.arg}`" if word.arg else "the counts" for word in node.keywords]
                yield str(event.value), node.func.attr, ", ".join(fields)


def _is_log(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "_log"


def test_every_table_of_the_machinery_is_described() -> None:
    made = {
        name
        for one in migrations()
        for name in re.findall(r"CREATE (?:TABLE|VIEW) ((?:projector|write_model)\.\w+)(?=\s)", one.up)
    }
    architecture = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    assert made <= set(re.findall(r"`((?:projector|write_model)\.\w+)`", section(architecture, "## The tables")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target, anchor in re.findall(r"\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]*))?\)", text):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target}#{anchor}"


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_decision_is_numbered_and_has_its_three_parts() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    for record in records:
        for part in ("## Context", "## Decision", "## Consequences"):
            assert part in record.read_text("utf-8"), f"{record.name}: {part}"


def test_tests_that_the_guarantees_name_exist() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text("utf-8")
    named = re.findall(r"`(test_\w+)`\]\(\.\./([\w/]+\.py)\)", page)
    assert len(named) >= 8
    for name, path in named:
        assert re.search(rf"def {name}\b|class {name}\b|^{name} = ", (ROOT / path).read_text("utf-8"), re.MULTILINE), (
            name
        )


def test_the_example_in_the_docs_is_the_one_that_runs() -> None:
    page = (ROOT / "docs" / "adding-a-read-model.md").read_text("utf-8")
    example = ROOT / "examples" / "adding_a_read_model" / "orders_by_country.py"
    assert f"```python\n{example.read_text('utf-8')}```" in page
