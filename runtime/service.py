"""How a process runs: signals, a stop that drains, and an end that comes in time.

The first SIGTERM or SIGINT asks everything to finish what is in hand; the second ends the process at once, which
tears nothing, since every effect is a transaction. SIGUSR1 asks where everything stands, and changes nothing.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Iterable
from itertools import count
from typing import Any

import structlog
import uvloop

from runtime.pulse import STUCK
from runtime.stacks import standing
from schemas.errors import Unavailable

_log = structlog.get_logger("projector.service")

# What a batch makes is freed by reference counting; the collector finds nothing in it, at a cost that grows with what
# waits behind a backlog (some half a million objects). It stays on, for what failures leave behind, but far apart.
_GC_THRESHOLDS = (1_000_000, 50, 100)

_AGAIN = 0.3  # seconds after which a part that was cancelled and hasn't ended is cancelled again
_DEAF = 20  # times that a part was cancelled in vain, after which the log says where it stands
_HOPELESS = 4  # times that the log has said so, after which the process ends at once: it may hold what others wait for


def owner() -> str:
    """This process, as others are told who it is: host and process id."""
    return f"{socket.gethostname()}-{os.getpid()}"


def run(main: Callable[[asyncio.Event], Coroutine[Any, Any, int]]) -> int:
    """Run a service until it ends by itself or is told to stop; its exit code."""
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_with_signals(main))


async def _with_signals(main: Callable[[asyncio.Event], Coroutine[Any, Any, int]]) -> int:
    stop, signals = asyncio.Event(), count(1)

    def asked() -> None:
        if next(signals) > 1:  # and not if we stop already: a supervisor may have asked in another way
            os._exit(130)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)
    loop.add_signal_handler(signal.SIGUSR1, lambda: _log.warning("tasks", standing=standing()))
    return await main(stop)


async def together(stop: asyncio.Event, grace: float, *parts: Coroutine[Any, Any, None]) -> bool:
    """Run parts side by side until all end, one fails, or `grace` seconds after `stop` have gone by; whether all ended
    by themselves.

    Those still running are cancelled then; the failure, if there was one, is raised. A part that ends by a cancellation
    that isn't ours has failed too (Unavailable): its work is not done, and nobody else would do it.
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
        failed = [task for task in tasks if _failed(task)]
        by_themselves = all(task.done() for task in tasks)
    finally:
        await cancelled({*tasks, stopping})
    for task in [*failed, *tasks]:
        if _failed(task) and not task.cancelled():
            task.result()
    if failed:
        raise Unavailable("a part of the work was cancelled by a library of its own accord")
    return by_themselves


async def cancelled(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel these again and again, until all have ended.

    `asyncio.wait_for` of Python 3.11 loses a cancellation that comes in the moment in which what it waits for is done,
    and a part that goes on would keep the process from ending for ever.
    """
    left = cancelling = {*tasks}
    for times in count(1):
        if not left:
            break
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN)
        if left and times % _DEAF == 0:
            _log.warning("not_cancelled", standing=standing())
        if left and times == _DEAF * _HOPELESS:
            os._exit(STUCK)
    await asyncio.gather(*cancelling, return_exceptions=True)


def _failed(task: asyncio.Future[None]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
