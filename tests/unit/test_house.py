"""House rules that no linter checks."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "runtime", "consumer", "producer", "api", "cli", "testkit")
OURS = sorted(
    path.relative_to(ROOT)
    for top in (*PACKAGES, "tests", "bench", "examples", "scripts")
    for path in (ROOT / top).rglob("*.py")
)
CODE = [path for path in OURS if path.parts[0] in PACKAGES]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text("utf-8"))


def test_no_file_is_longer_than_300_lines() -> None:
    lengths = {str(path): len((ROOT / path).read_text("utf-8").splitlines()) for path in OURS}
    assert len(lengths) > 50
    assert not {path: length for path, length in lengths.items() if length > 300}


@pytest.mark.parametrize("package", [path for path in CODE if path.name == "__init__.py"], ids=str)
def test_every_package_says_what_it_is(package: Path) -> None:
    stated = ast.get_docstring(tree(package))
    assert stated
    assert stated.partition("\n\n")[0].endswith((".", ":"))


def test_every_module_says_what_it_is() -> None:
    assert not [str(path) for path in CODE if not ast.get_docstring(tree(path))]


def calls(path: Path) -> list[tuple[str, int]]:
    return [(ast.unparse(node.func), node.lineno) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]


def test_nothing_is_printed_past_the_console() -> None:
    assert not [f"{path}:{line}" for path in CODE for name, line in calls(path) if name in ("print", "pprint")]


def test_only_the_settings_read_the_environment() -> None:
    allowed = {
        "runtime/settings.py",
        "runtime/hosts.py",
        "cli/demo.py",
        "cli/services.py",
        "cli/fleet.py",
        "testkit/plugin.py",
    }  # what to start, and for whom
    readers = {
        str(path)
        for path in CODE
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.getenv")
    }
    assert {path for path in readers if not path.startswith("runtime/embedded/")} <= allowed


@pytest.mark.parametrize("path", [path for path in OURS if path.parts[:2] == ("tests", "unit")], ids=str)
def test_unit_tests_neither_sleep_nor_skip(path: Path) -> None:
    names = {name for name, _ in calls(path)}
    assert not names & {"time.sleep", "asyncio.sleep", "pytest.skip", "pytest.mark.skip", "pytest.mark.skipif", "print"}
