"""A circuit breaker for what one can do without: after failures in a row nobody asks, until a probe has come back.

The pattern is Nygard's ("Release It!", 2007). Whose work fails doesn't also pay for finding out whether it works again:
a task beside probes, with more patience than a request has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from runtime.awaiting import first_of

_FAILURES = 3  # in a row
_PAUSE = 1.0  # seconds between two probes


class Breaker:
    """Says whether to ask, and is told how it went. Open, which is "don't", until the first probe has come back."""

    def __init__(self, changed: Callable[[bool], None] = lambda closed: None) -> None:
        """`changed` hears of every change: whether one may ask from now on."""
        self.closed = False
        self._changed = changed
        self._failures = 0
        self._opened, self._closed = asyncio.Event(), asyncio.Event()
        self._opened.set()

    async def closes(self) -> None:
        """As soon as one may ask."""
        await self._closed.wait()

    def succeeded(self) -> None:
        """It answered."""
        self._failures = 0

    def failed(self) -> None:
        """It didn't, or not in time."""
        self._failures += 1
        if self._failures >= _FAILURES and self.closed:
            self.closed = False
            self._changed(False)
            self._closed.clear()
            self._opened.set()

    async def keep(self, probe: Callable[[], Awaitable[bool]], stop: asyncio.Event) -> None:
        """Probe while it is open, until told to stop. `probe` says whether it works, and raises nothing."""
        while not stop.is_set():
            await first_of(self._opened, stop)
            if not stop.is_set() and await probe():
                self._failures = 0
                self._opened.clear()
                self.closed = True
                self._changed(True)
                self._closed.set()
            elif not stop.is_set():
                await first_of(stop, seconds=_PAUSE)
