"""An event loop in a thread of its own: what runs there is nobody else's, and can be awaited from any loop or none."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar, cast

T = TypeVar("T")


class LoopThread:
    """Runs coroutines beside the tests, whatever loops the tests have and however long each of them lasts."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="projector-testkit", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result, for callers that can't await: fixtures, and tests that are plain functions."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def call(self, work: Coroutine[Any, Any, T]) -> T:
        """The result, for callers in a loop of their own. To cancel the call is to cancel the work."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def shared(self, client: T) -> T:
        """A client that lives in this loop, with its coroutine methods made good for any."""
        return cast(T, _Shared(client, self))

    def close(self) -> None:
        """End what still runs, and the thread."""
        self.run(_cancel_the_rest())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _Shared:
    def __init__(self, client: Any, loop: LoopThread) -> None:
        self._client = client
        self._thread_loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def called(*arguments: Any, **named: Any) -> Any:
            return await self._thread_loop.call(found(*arguments, **named))

        return called


async def _cancel_the_rest() -> None:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
