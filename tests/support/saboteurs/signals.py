"""Processes that stand still: stopped as by a debugger, a swapping machine or a paused container."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil


@contextmanager
def frozen(*pids: int) -> Iterator[list[int]]:
    """These processes and all their children, stopped for as long as the context lasts. Yields whom it stopped."""
    stopped = [process for pid in pids for process in _family(pid)]
    try:
        for process in stopped:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        yield [process.pid for process in stopped]
    finally:
        for process in stopped:
            with suppress(psutil.NoSuchProcess):  # psutil knows them by birth too: no stranger is woken
                process.resume()


def stands_still(pid: int) -> bool:
    """Whether the process is stopped."""
    return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
