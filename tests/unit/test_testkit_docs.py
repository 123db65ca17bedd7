"""docs/testing-your-system.md shows the example that runs, and names every fixture."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from testkit import plugin

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "testing-your-system.md").read_text("utf-8")
EXAMPLE = ROOT / "examples" / "testing"
FILES = sorted(path.name for path in EXAMPLE.iterdir() if path.suffix in (".py", ".ini") and path.name != "__init__.py")


def test_every_file_of_the_example_is_shown_and_nothing_else_is() -> None:
    blocks = re.findall(r"```(?:python|ini)\n(.*?)```", PAGE, re.DOTALL)
    assert sorted(blocks) == sorted((EXAMPLE / name).read_text("utf-8") for name in FILES)
    assert len(FILES) == 6


def test_every_fixture_is_tabled() -> None:
    fixtures = {
        name
        for name, found in vars(plugin).items()
        if type(found).__name__ == "FixtureFunctionDefinition" and not name.startswith("_")
    }
    assert len(fixtures) > 8
    tabled = re.findall(r"^\| `(\w+)` \|", PAGE.partition("## The fixtures")[2], re.MULTILINE)
    assert sorted(tabled) == sorted(fixtures)


@pytest.mark.parametrize("name", ["some_orders", "deliver_badly", "assert_true", "Specification", "Order", "caught_up"])
def test_what_the_page_explains_stands_in_the_example(name: str) -> None:
    assert any(name in (EXAMPLE / file).read_text("utf-8") for file in FILES)


def test_the_example_imports_nothing_that_a_copy_of_it_lacks() -> None:
    imported = re.findall(
        r"^from (\S+) import", "\n".join((EXAMPLE / name).read_text("utf-8") for name in FILES), re.MULTILINE
    )
    assert ".monthly_revenue" in imported
    assert not [name for name in imported if name.startswith(("examples", "tests"))]


def test_the_names_that_are_taken_are_named() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    sentence = re.findall(r"The package's top-level names are (.+?)\. ", PAGE)
    assert [re.findall(r"`(\w+)`", one) for one in sentence] == [wheel["packages"]]
