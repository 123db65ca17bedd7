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
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
_PATIENCE = 300  # seconds a mutant's tests may take: one that hangs is noticed too, as a failure
_LEFT_OUT = shutil.ignore_patterns(".venv", ".git", ".*_cache", ".hypothesis", "__pycache__", ".projector")

_MACHINE = "tests/integration/test_processor_machine.py"
_PROCESSOR = "tests/integration/test_processor.py"
_RACES = "tests/integration/test_races.py"
_VERDICTS = "tests/unit/test_verdicts.py"
_WORKER = "tests/integration/test_worker.py"


class Mutant(NamedTuple):
    """What is broken: in `file`, `old` becomes `new`; `tests` are those that have to notice."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS = (
    Mutant(
        "no ledger insert",
        "consumer/projection.py",
        "        await ledger.append(connection, applied, self.sources)\n",
        "",
        (_PROCESSOR,),
    ),
    Mutant(
        "ledger in another transaction",
        "consumer/projection.py",
        "        await ledger.append(connection, applied, self.sources)\n",
        '        await connection.execute("COMMIT; BEGIN")\n'
        "        await ledger.append(connection, applied, self.sources)\n",
        (_MACHINE,),
    ),
    Mutant(
        "checkpoint in another transaction",
        "consumer/processor.py",
        "                    await checkpoints.advance(connection, moves)\n",
        "                    await checkpoints.advance(connection, moves)\n"
        '                    await connection.execute("COMMIT; BEGIN")\n',
        (_MACHINE,),
    ),
    Mutant(
        "a version may be applied twice (<= for <)",
        "consumer/verdicts.py",
        "            if ahead == 1:",
        "            if ahead in (0, 1):",
        (_VERDICTS, _MACHINE),
    ),
    Mutant(
        "a hole is no hole",
        "consumer/verdicts.py",
        "            if ahead == 1:",
        "            if ahead >= 1:",
        (_VERDICTS, _MACHINE),
    ),
    Mutant(
        "an order's write compares nothing (<= for =)",
        "consumer/queries.sql",
        "WHERE o.revision = excluded.revision - 1;",
        "WHERE o.revision <= excluded.revision;",
        (_RACES,),
    ),
    Mutant(
        "an order is not held while its event is parked",
        "consumer/projection.py",
        "if change.applied or change.held or change.erased",
        "if change.applied or change.erased",
        (_RACES,),
    ),
    Mutant(
        "the result of the checkpoint's compare-and-set is ignored",
        "consumer/checkpoints.py",
        "    if affected(moved) != len(moves):\n",
        "    if False:\n",
        (_RACES, _MACHINE),
    ),
    Mutant(
        "the result of the orders' compare-and-set is ignored",
        "consumer/order_store.py",
        "    if affected(written) != len(states):\n",
        "    if False:\n",
        (_RACES,),
    ),
    Mutant(
        "the epoch is not compared",
        "consumer/queries.sql",
        "  AND c.epoch = m.epoch\n",
        "",
        (_RACES,),
    ),
    Mutant(
        "orders are written unsorted",
        "consumer/queries.sql",
        'ORDER BY order_id COLLATE "C"\nON CONFLICT (order_id) DO UPDATE SET\n',
        "ON CONFLICT (order_id) DO UPDATE SET\n",
        (_RACES,),
    ),
    Mutant(
        "dead letters outside the transaction",
        "consumer/projection.py",
        "        await pending.bury(connection, verdicts.letters, self.sources)\n",
        '        await connection.execute("COMMIT; BEGIN")\n'
        "        await pending.bury(connection, verdicts.letters, self.sources)\n",
        (_MACHINE,),
    ),
    Mutant(
        "something transient becomes a dead letter",
        "runtime/postgres.py",
        "    if state.startswith(_TRANSIENT) or",
        '    if state.startswith("55"):\n        return Unstorable(state)\n    if state.startswith(_TRANSIENT) or',
        (_RACES,),
    ),
    Mutant(
        "what waits is drained without regard to who came first",
        "consumer/queries.sql",
        "ORDER BY order_id, version, arrival;",
        "ORDER BY order_id, version, arrival DESC;",
        (_PROCESSOR,),
    ),
    Mutant(
        "what an order gave before is not taken back",
        "consumer/read_model_store.py",
        "                        _add(delta.sums, model, before, -1)\n",
        "                        pass\n",
        (_PROCESSOR, _MACHINE),
    ),
    Mutant(
        "dead letters are not asked about duplicates",
        "consumer/queries.sql",
        "JOIN projector.dead_letters AS d USING (event_uuid, source_no);",
        "JOIN projector.dead_letters AS d USING (event_uuid, source_no) WHERE false;",
        (_PROCESSOR,),
    ),
    Mutant(
        "the source is no part of an event's identity",
        "consumer/verdicts.py",
        "        who = (event.source, event.uuid)\n",
        '        who = ("", event.uuid)\n',
        (_PROCESSOR, _MACHINE),
    ),
    Mutant(
        "erasure forgets the history",
        "consumer/ledger.py",
        '    for query in ("ledger_erase", "parked_erase", "letters_erase"):',
        '    for query in ("parked_erase", "letters_erase"):',
        (_PROCESSOR,),
    ),
    Mutant(
        "Kafka is told of more than the database has committed",
        "consumer/worker.py",
        "            place: hold.next_offset for place,",
        "            place: hold.next_offset + 1 for place,",
        (_WORKER,),
    ),
    Mutant(
        "a batch fetched under another epoch is used",
        "consumer/membership.py",
        "        if epoch != self.epoch:\n            self._go_back(fetched)\n            return epoch, []\n",
        "",
        ("tests/integration/test_worker_membership.py",),
    ),
)


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
