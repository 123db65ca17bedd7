"""Every fault of the matrix against real services: zero differences, nothing lost, nothing double.

`FAULT_SEED` repeats an earlier run's chances; `FAULTS=full` plays all faults, else the short tier.
"""

from __future__ import annotations

import pytest

from tests.faults.fault import Fault
from tests.faults.play import Played, play
from tests.faults.stage import Stage

pytestmark = [pytest.mark.apache_kafka, pytest.mark.timeout(1_200)]


async def test_nothing_is_lost_or_done_twice(fault: Fault, seed: int, stage: Stage, played: list[Played]) -> None:
    again = f"FAULTS=full FAULT_SEED={seed} .venv/bin/python -m pytest tests/faults -k {fault.id}-0"
    try:
        outcome = await play(fault, stage, seed)
    except BaseException as error:
        error.add_note(f"again: {again}")
        raise
    played.append(outcome)
    assert outcome.differences == [], f"again: {again}"
    assert outcome.wrong == [], f"again: {again}"
