"""`make mutants`: break the engine in known ways, one at a time, and see that some test notices.

Each mutant is a small edit of a copy of the tree, and the tests that are expected to catch it. The list is the one
of faults that projection engines have really had; a mutant that survives means a guarantee that nothing holds.

A catch is a test that fails. A fixture that can't be had, a module that can't be imported and tests that take too
long prove nothing (that last one does where the mutant is known to hang); and all the tests have to be green, and not
just skipped, on the tree as it is, which is seen first.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.mutations.engine import ENGINE
from tests.mutations.fleet import FLEET
from tests.mutations.http import HTTP
from tests.mutations.letters import LETTERS
from tests.mutations.mutant import Mutant
from tests.mutations.prune import PRUNE
from tests.mutations.reads import READS
from tests.mutations.rebuild import REBUILD
from tests.mutations.swap import SWAP
from tests.mutations.verification import VERIFICATION
from tests.mutations.write_side import WRITE_SIDE

MUTANTS = (*ENGINE, *LETTERS, *FLEET, *REBUILD, *SWAP, *VERIFICATION, *PRUNE, *WRITE_SIDE, *READS, *HTTP)

ROOT = Path(__file__).resolve().parent.parent
_PATIENCE = 300  # seconds a mutant's tests may take
_LEFT_OUT = shutil.ignore_patterns(".venv", ".git", ".*_cache", ".hypothesis", "__pycache__", ".projector")
_PYTEST = ("-m", "pytest", "-x", "-rfE", "-p", "no:cacheprovider", "-p", "no:schemathesis")
_FAILED = re.compile(r"^FAILED \S*?::(.+?)(?: - .*)?$", re.MULTILINE)
_PASSED = re.compile(r"\b[1-9]\d* passed\b")


class Ran(NamedTuple):
    """How tests ended: with pytest's exit code, or with none because they took too long."""

    code: int | None
    said: str

    @property
    def failed(self) -> str | None:
        """The first test that failed by itself, not for want of a fixture."""
        found = _FAILED.search(self.said)
        return found[1] if self.code == 1 and found else None

    @property
    def green(self) -> bool:
        """Nothing failed, and something ran."""
        return self.code == 0 and bool(_PASSED.search(self.said))


class Fate(NamedTuple):
    """What became of a mutant: `caught`, and by which test, or what happened instead."""

    caught: bool
    how: str


def main() -> int:
    """Run them all, or those whose names match; print the table; 1 if one was not caught."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("matching", nargs="*", default=[""], help="only mutants whose name has one of these in it")
    wanted: list[str] = parser.parse_args().matching
    mutants = [mutant for mutant in MUTANTS if any(part in mutant.name for part in wanted)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to stop"))  # so that what runs is ended first
    _expect_green(mutants)
    uncaught = 0
    print(f"| {'mutant':62} | {'caught by':80} | seconds |\n|{'-' * 64}|{'-' * 82}|---------|")
    for mutant in mutants:
        began = time.monotonic()
        fate = _fate(mutant)
        uncaught += not fate.caught
        print(f"| {mutant.name:62} | {fate.how:80} | {time.monotonic() - began:7.0f} |", flush=True)
    return 1 if uncaught else 0


def _expect_green(mutants: Sequence[Mutant]) -> None:
    """The control: a test that fails, or is skipped, without a mutant catches none."""
    with _copy() as tree:
        for test in dict.fromkeys(test for mutant in mutants for test in mutant.tests):
            ran = run(tree, test)
            print(f"without a mutant: {test}: {'green' if ran.green else 'NOT GREEN'}", file=sys.stderr, flush=True)
            if not ran.green:
                sys.exit(f"{test} is not green without a mutant:\n{ran.said[-5000:]}")


def _fate(mutant: Mutant) -> Fate:
    """Its tests in turn, until one fails."""
    with _copy() as tree:
        path = tree / mutant.file
        text = path.read_text("utf-8")
        if text.count(mutant.old) != 1:
            sys.exit(f"{mutant.name}: {mutant.file} holds {text.count(mutant.old)} times what is to be replaced")
        path.write_text(text.replace(mutant.old, mutant.new), "utf-8")
        fate = Fate(False, "SURVIVED")
        for test in mutant.tests:
            fate = judged(mutant, test, run(tree, test))
            if fate.caught:
                break
        return fate


def judged(mutant: Mutant, test: str, ran: Ran) -> Fate:
    """Whether these tests have caught it."""
    if ran.failed is not None:
        return Fate(True, ran.failed)
    if ran.code is None:
        return Fate(mutant.hangs, f"{test} hung" if mutant.hangs else f"TOOK TOO LONG: {test}")
    if ran.green:
        return Fate(False, "SURVIVED")
    print(ran.said[-3000:], file=sys.stderr)
    return Fate(False, f"DID NOT RUN: {test}")


@contextmanager
def _copy() -> Iterator[Path]:
    """A copy of the tree, for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
        tree = Path(directory) / "tree"
        shutil.copytree(ROOT, tree, ignore=_LEFT_OUT)
        yield tree


def run(tree: Path, test: str, patience: float = _PATIENCE) -> Ran:
    """Run a file of tests, or one of them, on a tree. Whatever becomes of it, pytest is gone afterwards."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "MACHINE_NO_SHRINK": "1"}
    with subprocess.Popen(
        [sys.executable, *_PYTEST, test],
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,  # what pytest starts and leaves in its group ends with it; servers and workers see to that
    ) as pytest:
        try:
            said, _ = pytest.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            return Ran(None, "")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(pytest.pid, signal.SIGKILL)
        return Ran(pytest.returncode, said)


if __name__ == "__main__":
    sys.exit(main())
