"""A project that has packages of our names: what uses nothing of ours runs, and what does says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.test_testkit_plugin import UNRELATED, Project

THEIRS = """
def test_of_theirs():
    import {name}
    assert {name}.WHOSE == "theirs"
"""

OURS = """
def test_of_a_service(postgres_url): ...
def test_of_read_models(read_models): ...
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, {"TEST_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"})


def own(project: Project, file: str) -> str:
    """A package or a module of the project's own; where it is."""
    place = project.home / file
    place.parent.mkdir(exist_ok=True)
    place.write_text("WHOSE = 'theirs'\n")
    return str(place)


@pytest.mark.parametrize(
    ("name", "file", "when"),
    [
        ("schemas", "schemas/__init__.py", "at once"),
        ("consumer", "consumer/__init__.py", "in a test"),
        ("producer", "producer.py", "at once"),
        ("runtime", "runtime.py", "in a test"),
    ],
)
def test_only_the_tests_that_use_ours_fail_and_say_what_hides_it(
    project: Project, name: str, file: str, when: str
) -> None:
    place = own(project, file)
    first = f"import {name}\n" if when == "at once" else ""
    said = project.run(first + UNRELATED + THEIRS.format(name=name) + OURS, "-p", "no:asyncio", code=1)
    assert "2 passed, 2 errors" in said
    assert said.count(f"is hidden by what has the names of its packages: `{name}` ({place})") >= 2


def test_a_module_that_was_made_by_hand_hides_ours_too(project: Project) -> None:
    made = "import sys, types\nsys.modules['consumer'] = types.ModuleType('consumer')\n"
    said = project.run(made + UNRELATED + OURS, "-p", "no:asyncio", code=1)
    assert "1 passed, 2 errors" in said
    assert "`consumer` (of no file)" in said


def test_a_name_that_the_kit_does_without_hides_nothing(project: Project) -> None:
    own(project, "cli/__init__.py")
    assert "4 passed" in project.run(UNRELATED + THEIRS.format(name="cli") + OURS, "-p", "no:asyncio")


def test_whoever_has_a_testkit_leaves_ours_out(project: Project) -> None:
    own(project, "testkit/__init__.py")
    theirs = THEIRS.format(name="testkit")
    assert "1 passed" in project.run(theirs, "-p", "no:asyncio", "-p", "no:projector")


def test_an_installation_in_which_something_is_missing_fails_no_other_tests(project: Project) -> None:
    project.lacks("aiokafka")
    said = project.run(UNRELATED + OURS, "-p", "no:asyncio", code=1)
    assert "1 passed, 2 errors" in said
    assert "testkit/kit.py" in said
    assert "aiokafka" in said.partition("ERROR at setup of test_of_a_service")[2]
