"""The circuit breaker: open until a probe has come back, open again after failures in a row."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from runtime import breaker
from runtime.breaker import Breaker


async def kept(ours: Breaker, probe: Callable[[], bool], until: Callable[[], bool]) -> None:
    """Let it probe, until that holds."""

    async def probed() -> bool:
        return probe()

    stop = asyncio.Event()
    keeping = asyncio.ensure_future(ours.keep(probed, stop))
    async with asyncio.timeout(5):
        while not until():
            await asyncio.wait([keeping], timeout=0.001)
    stop.set()
    await keeping


async def test_it_is_open_until_a_probe_has_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "_PAUSE", 0.001)
    answers, changes = iter([False, False, True]), list[bool]()
    ours = Breaker(changes.append)
    assert not ours.closed
    await kept(ours, lambda: next(answers), lambda: ours.closed)
    assert changes == [True]
    assert next(answers, None) is None  # nobody probes while it is closed


async def test_failures_in_a_row_open_it_and_a_success_between_them_starts_anew() -> None:
    changes = list[bool]()
    ours = Breaker(changes.append)
    await kept(ours, lambda: True, lambda: ours.closed)
    for _ in range(10):
        ours.failed()
        ours.failed()
        ours.succeeded()
    assert ours.closed
    for _ in range(3):
        ours.failed()
    assert changes == [True, False]
    await kept(ours, lambda: True, lambda: ours.closed)
    assert changes == [True, False, True]
    await asyncio.wait_for(ours.closes(), 1)
