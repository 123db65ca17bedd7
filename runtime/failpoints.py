"""Points at which a fault test makes the process fail. Off unless `PROJECTOR_FAILPOINTS` names them.

`name=action:nth`, comma-separated: at the nth time that the point is reached (1 if left out) the action happens.
Actions: `kill9` (the process dies at once, as by SIGKILL), `raise` (a RuntimeError), `hang` (the task waits for ever).
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter
from typing import Literal, NamedTuple, cast, get_args

from schemas.errors import Refused

Action = Literal["kill9", "raise", "hang"]


class _Failpoint(NamedTuple):
    action: Action
    nth: int


class Failpoints:
    """The points armed in this process. Reaching one that isn't armed costs a dictionary look-up."""

    def __init__(self, text: str = "") -> None:
        self._armed = dict(_parsed(part.strip()) for part in text.split(",") if part.strip())
        self._reached: Counter[str] = Counter()

    async def reach(self, name: str) -> None:
        if name not in self._armed:
            return
        self._reached[name] += 1
        point = self._armed[name]
        if self._reached[name] != point.nth:
            return
        if point.action == "kill9":
            os.kill(os.getpid(), signal.SIGKILL)
        elif point.action == "hang":
            await asyncio.Event().wait()
        raise RuntimeError(f"failpoint {name}")


def _parsed(text: str) -> tuple[str, _Failpoint]:
    name, _, rest = text.partition("=")
    action, _, nth = rest.partition(":")
    if not name or action not in get_args(Action) or not re.fullmatch("[1-9][0-9]{0,8}", nth or "1"):
        raise Refused(f"PROJECTOR_FAILPOINTS={text!r}: has to be name=action:nth with action kill9, raise or hang")
    return name, _Failpoint(cast(Action, action), int(nth or "1"))
