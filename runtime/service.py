"""How a process runs: signals, a stop that drains, and an end that comes in time.

The first SIGTERM or SIGINT asks everything to finish what is in hand; the second ends the process at once, which
tears nothing, since every effect is a transaction.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

# What a batch makes is freed by reference counting; the collector finds nothing in it, at a cost that grows with
# the batch. It stays on, for what other code leaves behind, but far apart.
_GC_THRESHOLDS = (200_000, 50, 100)

_AGAIN = 1.0  # seconds after which a part that was cancelled and hasn't ended is cancelled again


def run(main: Callable[[asyncio.Event], Coroutine[Any, Any, int]]) -> int:
    """Run a service until it ends by itself or is told to stop; its exit code."""
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_with_signals(main))


async def _with_signals(main: Callable[[asyncio.Event], Coroutine[Any, Any, int]]) -> int:
    stop = asyncio.Event()

    def asked() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)
    return await main(stop)


async def together(stop: asyncio.Event, grace: float, *parts: Coroutine[Any, Any, None]) -> None:
    """Run parts side by side until all end, one fails, or `grace` seconds after `stop` have gone by.

    Those still running are cancelled then; the failure, if there was one, is raised.
    """
    tasks = {asyncio.ensure_future(part) for part in parts}
    stopping = asyncio.ensure_future(stop.wait())
    try:
        left = set(tasks)
        while left and not stopping.done():
            await asyncio.wait({*left, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if any(_failed(task) for task in left):
                break
            left = {task for task in left if not task.done()}
        if left and stopping.done():
            await asyncio.wait(left, timeout=grace, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        await _cancel({*tasks, stopping})
    for task in tasks:
        if _failed(task):
            task.result()


async def _cancel(tasks: set[asyncio.Future[Any]]) -> None:
    """Again and again, until all have ended: `asyncio.wait_for` of Python 3.11 loses a cancellation that comes in the
    moment in which what it waits for is done, and a part that goes on would keep the process from ending for ever."""
    left = tasks
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)


def _failed(task: asyncio.Future[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None
