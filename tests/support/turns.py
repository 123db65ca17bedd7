"""One step at a time, in an order that is drawn: every interleaving of several coroutines' steps can come up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from random import Random

_SETTLES = 8  # rounds of the event loop until whoever goes on after a step stands before its next one


class Turns:
    """Gives turns. What happens between two steps must not wait for anything but other coroutines here."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._waiting: list[asyncio.Future[None]] = []
        self._idle = asyncio.Event()
        self.taken = 0

    @asynccontextmanager
    async def step(self) -> AsyncIterator[None]:
        """A step, once it is its turn. Nobody else takes one meanwhile."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn
        try:
            yield
        finally:
            self._idle.set()

    async def play(self, *actors: Awaitable[None]) -> None:
        """Let these go from step to step, and whoever else waits for a turn, until all of them have ended."""
        tasks = [asyncio.ensure_future(actor) for actor in actors]
        await self._settle()
        while self._waiting:
            turn = self._waiting.pop(self._random.randrange(len(self._waiting)))
            self._idle.clear()
            turn.set_result(None)
            self.taken += 1
            await self._idle.wait()
            await self._settle()
        for task in tasks:
            assert task.done(), "one waits for what nobody will do"
            await task

    async def _settle(self) -> None:
        for _ in range(_SETTLES):
            await asyncio.sleep(0)
