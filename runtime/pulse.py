"""The last watchdog: ends a process whose event loop stands still, which no task in it could do."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_LOOKS = 10  # in a row without a beat; counted, not timed: a frozen process that is thawed isn't stuck

STUCK = 1  # the exit code


@asynccontextmanager
async def pulse(limit: float) -> AsyncIterator[None]:
    """Exit with 1, after showing where every thread stands, if the loop doesn't run for about `limit` seconds."""
    beating = _Pulse(limit / _LOOKS)
    task = asyncio.ensure_future(beating.beat())
    try:
        yield
    finally:
        beating.over.set()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class _Pulse:
    def __init__(self, interval: float) -> None:
        self.over = threading.Event()
        self._interval = interval
        self._missed = 0
        threading.Thread(target=self._watch, name="pulse", daemon=True).start()

    async def beat(self) -> None:
        while True:
            self._missed = 0
            await asyncio.sleep(self._interval / 2)

    def _watch(self) -> None:
        while not self.over.wait(self._interval):
            self._missed += 1
            if self._missed > _LOOKS:
                sys.stderr.write("projector: the event loop stands still; where it does:\n")
                faulthandler.dump_traceback(sys.stderr)
                os._exit(STUCK)
