"""How workers cut the stream into batches, as they tell it themselves."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from urllib.request import urlopen

_SAMPLE = re.compile(r'^(projector_[a-z_]+)(?:\{reason="(\w+)"\})? ([0-9.e+]+)$', re.MULTILINE)


async def batches(ports: Sequence[int]) -> dict[str, float]:
    """Of the workers whose metrics are on these ports: number, mean size and mean duration of batches, and assignments.

    Without a rebalance under way there are as many assignments as workers.
    """
    texts = await asyncio.gather(*(asyncio.to_thread(_metrics, port) for port in ports))
    sums: dict[str, float] = {}
    for text in texts:
        for name, _, value in _SAMPLE.findall(text):
            sums[name] = sums.get(name, 0) + float(value)
    count = sums.get("projector_batch_size_events_count", 0)
    return {
        "batches": count,
        "events_per_batch": sums.get("projector_batch_size_events_sum", 0) / count if count else 0,
        "ms_per_batch": sums.get("projector_batch_duration_seconds_sum", 0) * 1e3 / count if count else 0,
        "assignments": sums.get("projector_rebalances_total", 0),
        "batches_run_again": sums.get("projector_retries_total", 0),
    }


def _metrics(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())
