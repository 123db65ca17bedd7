"""The list of mutants keeps up with the code it breaks, and a catch is told from an accident."""

from __future__ import annotations

import os
import select
from pathlib import Path

import pytest

from tests.mutants import MUTANTS, ROOT, Fate, Ran, judged, run
from tests.mutations.mutant import Mutant

_ANY = Mutant("any", "a.py", "old", "new", ("t.py",))
_FIXTURE = "import pytest\n@pytest.fixture\ndef broken(): raise OSError('no broker')\n"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_a_mutant_replaces_is_there_once_and_its_tests_exist(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text("utf-8").count(mutant.old) == 1
    assert mutant.old != mutant.new
    assert all((ROOT / test.partition("::")[0]).is_file() for test in mutant.tests)


@pytest.mark.parametrize(
    ("tests", "fate"),
    [
        ("def test_notices(): assert False, 'a - b'\n", Fate(True, "test_notices")),
        (f"{_FIXTURE}def test_needs(broken): pass\n", Fate(False, "DID NOT RUN: t.py")),
    ],
)
def test_a_test_that_fails_is_a_catch_and_a_fixture_that_fails_is_none(tmp_path: Path, tests: str, fate: Fate) -> None:
    (tmp_path / "t.py").write_text(tests)
    assert judged(_ANY, "t.py", run(tmp_path, "t.py")) == fate


@pytest.mark.parametrize(
    ("ran", "how"),
    [
        (Ran(0, "..\n2 passed in 0.1s\n"), "SURVIVED"),
        (Ran(0, "ss\n2 skipped in 0.1s\n"), "DID NOT RUN: t.py"),
        (Ran(2, "ERROR t.py\n1 error in 0.1s\n"), "DID NOT RUN: t.py"),
        (Ran(1, "ERROR t.py::test_a - OSError: no broker\n1 passed, 1 error in 0.1s\n"), "DID NOT RUN: t.py"),
    ],
)
def test_what_else_tests_end_with_is_no_catch(ran: Ran, how: str) -> None:
    assert judged(_ANY, "t.py", ran) == Fate(False, how)


def test_tests_that_take_too_long_are_ended_and_catch_only_what_is_known_to_hang(tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text(
        "import pathlib, subprocess\n"
        "def test_hangs():\n"
        "    child = subprocess.Popen(['sleep', '60'])\n"
        "    pathlib.Path('pid').write_text(str(child.pid))\n"
        "    child.wait()\n"
    )
    ran = run(tmp_path, "t.py", patience=6)
    assert ran == Ran(None, "")
    assert _ends(int((tmp_path / "pid").read_text()))
    assert not judged(_ANY, "t.py", ran).caught
    assert judged(_ANY._replace(hangs=True), "t.py", ran).caught


def _ends(pid: int) -> bool:
    """Whether a process that was told to is gone soon."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 10)[0])
    finally:
        os.close(handle)
