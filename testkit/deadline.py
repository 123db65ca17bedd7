"""Waiting in tests: never for a time, always for a fact, with a deadline."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(check: Callable[[], Awaitable[T]], timeout: float = ..., interval: float = ...) -> T: ...
@overload
async def eventually(check: Callable[[], T], timeout: float = ..., interval: float = ...) -> T: ...
async def eventually(check: Callable[[], Any], timeout: float = 10.0, interval: float = 0.05) -> Any:
    """The first truthy result of `check`, which may be async. An AssertionError in it means "not
    yet"; any other exception passes. At the deadline: AssertionError, with what `check` said
    last."""
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        said: object
        try:
            outcome = check()
            result = await outcome if inspect.isawaitable(outcome) else outcome
            if result:
                return result
            said = result
        except AssertionError as not_yet:
            said = not_yet
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not within {timeout:g} s; last: {said!r}")
        await asyncio.sleep(interval)
