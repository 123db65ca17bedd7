"""The bulk's ranges shared out to processes. Each builds one range at a time, in a transaction of its own.

They are processes, not tasks, since folding is Python's own work. None outlives the one that started it.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple, Protocol

import uvloop

from schemas.errors import Unavailable


class Part(NamedTuple):
    """A range of orders: from `first` on, before `end` (None: to the last one)."""

    number: int
    first: str
    end: str | None


class Job(Protocol):
    """Builds a range; how many events it had. It goes to another process, so it has to be picklable."""

    async def build(self, part: Part) -> int: ...


async def build(job: Job, parts: Sequence[Part], processes: int) -> AsyncIterator[tuple[Part, int]]:
    """Build ranges in so many processes (0: in this one); each with its events, as they get done."""
    if processes == 0:
        for one in parts:
            yield one, await job.build(one)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, _follow_parent)
    waiting = iter(parts)
    running: dict[asyncio.Future[int], Part] = {}
    try:
        while True:
            while len(running) < processes and (part := next(waiting, None)) is not None:
                running[asyncio.wrap_future(_submitted(pool, job, part))] = part
            if not running:
                return
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for future in done:
                yield running.pop(future), future.result()
    except BrokenProcessPool:
        raise Unavailable("a process of the rebuild was killed") from None
    finally:
        # Not waited for: what they have begun is rolled back with their connections.
        for process in [*pool._processes.values()]:  # the pool has no public way to end them
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, job: Job, part: Part) -> Future[int]:
    return pool.submit(_build, job, part)


def _build(job: Job, part: Part) -> int:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        built = runner.run(job.build(part))
    gc.collect()  # of what little goes round in circles; a range's events don't, and are free by now
    return built


def _follow_parent() -> None:
    """End when the process that started this one does, however it ends."""
    gc.freeze()
    gc.disable()  # it finds nothing in a range's events, and looks at each again and again: a tenth of the time
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
