"""State machines of Hypothesis against one database, each step in one loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import asyncpg
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

# Shrinking a failure takes minutes; who only wants to know whether there is one can do without.
_PHASES = (Phase.explicit, Phase.reuse, Phase.generate) if os.environ.get("MACHINE_NO_SHRINK") else tuple(Phase)


def play(
    machine: Callable[[asyncio.Runner, asyncpg.Pool[asyncpg.Record]], Any], url: str, runs: int, steps: int
) -> None:
    """Play a machine so often (or MACHINE_EXAMPLES times), with so many steps, on connections to this database."""
    with asyncio.Runner() as runner:
        pool = runner.run(_pool(url))
        try:
            run_state_machine_as_test(
                lambda: machine(runner, pool),  # type: ignore[arg-type]  # any factory does
                settings=settings(
                    max_examples=int(os.environ.get("MACHINE_EXAMPLES", str(runs))),
                    stateful_step_count=steps,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                    print_blob=True,
                    phases=_PHASES,
                ),
            )
        finally:
            runner.run(pool.close())


async def _pool(url: str) -> asyncpg.Pool[asyncpg.Record]:
    return await asyncpg.create_pool(url, min_size=1, max_size=4)
