"""Points at which a fault test makes the process fail. Off unless `PROJECTOR_FAILPOINTS` names them.

`name=action:when`, comma-separated. Actions: `kill9` (the process dies at once, as by SIGKILL), `raise` (a
RuntimeError), `hang` (the task waits for ever), `sleep(S)` (the task waits S seconds), `block(S)` (the whole process
does). When: a number n (the nth time that the point is reached; 1 if left out), `*` (each time), `1/n` (by chance).

A point that acts says so in the log first: `failpoint_reached`.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections import Counter
from random import Random
from typing import NamedTuple

import structlog

from schemas.errors import Refused

_log = structlog.get_logger("projector.failpoints")

_FORM = re.compile(
    r"(?P<name>\w+)=(?P<action>kill9|raise|hang|(?P<timed>sleep|block)\((?P<seconds>[0-9]{1,4}(\.[0-9]{1,3})?)\))"
    r"(:(?P<when>\*|(?P<chance>1/)?(?P<number>[1-9][0-9]{0,8})))?",
    re.ASCII,
)


class _Failpoint(NamedTuple):
    action: str
    seconds: float
    nth: int | None  # which time; None: each
    chance: int | None  # one in how many; None: not by chance

    def strikes(self, times: int, random: Random) -> bool:
        if self.chance is not None:
            return random.randrange(self.chance) == 0
        return self.nth is None or times == self.nth


class Failpoints:
    """The points armed in this process. Reaching one that isn't armed costs a dictionary look-up."""

    def __init__(self, text: str = "", random: Random | None = None) -> None:
        self._armed = dict(_parsed(part.strip()) for part in text.split(",") if part.strip())
        self._reached: Counter[str] = Counter()
        self._random = random or Random()  # noqa: S311  chance, not secrecy

    @property
    def armed(self) -> list[str]:
        """The names of the points that may strike."""
        return sorted(self._armed)

    async def reach(self, name: str) -> None:
        """Do what is armed for this point, if it is and its time has come."""
        if name not in self._armed:
            return
        self._reached[name] += 1
        point = self._armed[name]
        if point.strikes(self._reached[name], self._random):
            # Before it acts: the handler flushes each line, so that kill9 finds it written.
            _log.warning("failpoint_reached", point=name, action=point.action)
            await _strike(name, point)


async def _strike(name: str, point: _Failpoint) -> None:
    match point.action:
        case "sleep":
            await asyncio.sleep(point.seconds)
            return
        case "block":
            time.sleep(point.seconds)  # noqa: ASYNC251  that nothing else runs is the point
            return
        case "hang":
            await asyncio.Event().wait()
        case "kill9":
            os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError(f"failpoint {name}")


def _parsed(text: str) -> tuple[str, _Failpoint]:
    found = _FORM.fullmatch(text)
    if found is None:
        raise Refused(
            f"PROJECTOR_FAILPOINTS={text!r}: has to be name=action:when with action kill9, raise, hang, sleep(seconds) "
            "or block(seconds), and when a number, * or 1/number"
        )
    number = int(found["number"] or 1)
    by_chance = bool(found["chance"])
    nth = None if by_chance or found["when"] == "*" else number
    action = found["timed"] or found["action"]
    return found["name"], _Failpoint(action, float(found["seconds"] or 0), nth, number if by_chance else None)
