"""Clocks that are wrong, and jump."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from testkit.deadline import eventually
from tests.faults.evidence import logged
from tests.faults.fault import fault
from tests.faults.scene import Scene
from tests.support.fleet import Member
from tests.support.saboteurs.needs import lacking

LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
)


@asynccontextmanager
async def _clock(scene: Scene) -> AsyncIterator[None]:
    """A clock for workers to run by: what its file says."""
    library = _library()
    if library is None:
        lacking("needs libfaketime (package faketime)")
    with tempfile.NamedTemporaryFile("w", prefix="projector-clock-") as clock:
        scene.tools["clock"] = Path(clock.name)
        scene.tools["by it"] = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": clock.name,
            "FAKETIME_NO_CACHE": 1,
            "DONT_FAKE_MONOTONIC": 1,  # no machine's does
        }
        yield


def _library() -> str | None:
    return next((path for path in LIBRARIES if Path(path).exists()), None)


def _turn(scene: Scene, clock: str) -> None:
    scene.tools["clock"].write_text(clock)


@fault(40, "clocks an hour off, that jump", around=_clock, shown_by=("clocks",))
async def wrong_clock(scene: Scene) -> None:
    """Nothing depends on what time it is but labels."""
    _turn(scene, "+1h")
    member = scene.start(**scene.tools["by it"])
    await scene.shared()
    jumps = {"-1h": -1, "+30d": 30 * 24, "-3d": -3 * 24}
    for jump, hours in jumps.items():
        _turn(scene, jump)
        scene.start()  # a rebalance, also if there is no partition left for it: the worker logs it
        await scene.shared()
        await eventually(partial(_logs, member, hours), 30)
        await scene.works(300)
    times = _hours_off(member)
    assert times == {1, *jumps.values()}
    scene.evidence["clocks"] += len(times)


def _logs(member: Member, hours: int) -> bool:
    return hours in _hours_off(member)


def _hours_off(member: Member) -> set[int]:
    """How wrong the times in its log are."""
    times = [datetime.fromisoformat(line["timestamp"]) for line in logged(member)]
    return {round((time - datetime.now(UTC)).total_seconds() / 3600) for time in times}
