"""`make mutants`: break the engine in known ways, one at a time, and see that some test notices.

Each mutant is a small edit of a copy of the tree, and the tests that are expected to catch it. The list is the one
of faults that projection engines have really had; a mutant that survives means a guarantee that nothing holds.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutations.engine import ENGINE
from tests.mutations.fleet import FLEET
from tests.mutations.letters import LETTERS
from tests.mutations.mutant import Mutant

MUTANTS = (*ENGINE, *LETTERS, *FLEET)

ROOT = Path(__file__).resolve().parent.parent
_PATIENCE = 300  # seconds a mutant's tests may take: one that hangs is noticed too, as a failure
_LEFT_OUT = shutil.ignore_patterns(".venv", ".git", ".*_cache", ".hypothesis", "__pycache__", ".projector")


def main() -> int:
    """Run them all, or those whose names match; print the table; 1 if one survived."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("matching", nargs="*", default=[""], help="only mutants whose name has one of these in it")
    wanted: list[str] = parser.parse_args().matching
    survivors = 0
    print(f"| {'mutant':62} | {'caught by':58} | seconds |\n|{'-' * 64}|{'-' * 60}|---------|")
    for mutant in MUTANTS:
        if any(part in mutant.name for part in wanted):
            began = time.monotonic()
            catcher = _catcher(mutant)
            survivors += catcher is None
            print(f"| {mutant.name:62} | {catcher or 'SURVIVED':58} | {time.monotonic() - began:7.0f} |", flush=True)
    return 1 if survivors else 0


def _catcher(mutant: Mutant) -> str | None:
    """The first test that fails on the mutant; None if none does."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
        tree = Path(directory) / "tree"
        shutil.copytree(ROOT, tree, ignore=_LEFT_OUT)
        path = tree / mutant.file
        text = path.read_text("utf-8")
        if text.count(mutant.old) != 1:
            sys.exit(f"{mutant.name}: {mutant.file} holds {text.count(mutant.old)} times what is to be replaced")
        path.write_text(text.replace(mutant.old, mutant.new), "utf-8")
        return next((found for test in mutant.tests if (found := _failure(tree, test))), None)


def _failure(tree: Path, test: str) -> str | None:
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", test]
    environment = {**os.environ, "PYTHONPATH": str(tree), "MACHINE_NO_SHRINK": "1"}
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{test} (hung)"
    if done.returncode == 0:
        return None
    if done.returncode != 1:
        sys.exit(f"{test} did not run:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    failed = re.search(r"^(?:FAILED|ERROR) \S*?::(\S+)", done.stdout, re.MULTILINE)
    return failed[1] if failed else test


if __name__ == "__main__":
    sys.exit(main())
