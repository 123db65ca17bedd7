"""Where every task stands: what a worker that does nothing is waiting for. Names of code only, no values."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

_KINDS = ("cr", "gi", "ag")  # coroutines, generators, asynchronous generators: each names its parts its own way


def standing() -> list[str]:
    """A line per task of the running loop: its name, then file, line and function, from the outermost call inwards."""
    tasks = sorted(asyncio.all_tasks(), key=lambda task: task.get_name())
    return [f"{task.get_name()}: {' > '.join(_calls(task.get_coro()))}" for task in tasks]


def _calls(awaited: Any) -> Iterator[str]:
    """`Task.get_stack` shows a suspended coroutine alone, not what it awaits."""
    while awaited is not None:
        kind = next((kind for kind in _KINDS if hasattr(awaited, f"{kind}_frame")), None)
        if kind is None:
            yield type(awaited).__name__
            return
        frame, code = getattr(awaited, f"{kind}_frame"), getattr(awaited, f"{kind}_code")
        line = "ended" if frame is None else frame.f_lineno
        yield f"{'/'.join(code.co_filename.split('/')[-2:])}:{line} {code.co_qualname}"
        awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
