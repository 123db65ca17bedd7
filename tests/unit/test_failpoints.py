"""Failpoints: armed ones act at their nth time, all others never."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from runtime.failpoints import Failpoints
from schemas.errors import Refused


async def test_a_point_that_is_not_armed_does_nothing() -> None:
    for text in ("", " , ", "other=raise"):
        await Failpoints(text).reach("here")


async def test_an_armed_point_raises_at_its_nth_time_and_only_then() -> None:
    points = Failpoints("here=raise:3")
    await points.reach("here")
    await points.reach("there")
    await points.reach("here")
    with pytest.raises(RuntimeError, match="failpoint here"):
        await points.reach("here")
    await points.reach("here")


async def test_the_first_time_is_meant_where_no_number_stands() -> None:
    points = Failpoints("a=raise, b=raise:2")
    with pytest.raises(RuntimeError, match="failpoint a"):
        await points.reach("a")
    await points.reach("b")
    with pytest.raises(RuntimeError, match="failpoint b"):
        await points.reach("b")


async def test_hanging_lasts_until_the_task_is_cancelled() -> None:
    task = asyncio.ensure_future(Failpoints("here=hang").reach("here"))
    done, _ = await asyncio.wait([task], timeout=0.01)
    assert not done
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_kill9_is_sent_to_this_very_process(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(os, "kill", lambda *arguments: sent.append(arguments))
    with pytest.raises(RuntimeError):  # a process that lives on must not go on
        await Failpoints("here=kill9").reach("here")
    assert sent == [(os.getpid(), signal.SIGKILL)]


@pytest.mark.parametrize(
    "text", ["here", "here=", "here=explode", "here=raise:0", "here=raise:-1", "here=raise:x", "here=raise:²", "=raise"]
)
def test_what_makes_no_sense_is_refused_with_the_form_it_should_have(text: str) -> None:
    with pytest.raises(Refused, match="name=action:nth"):
        Failpoints(f"fine=hang:2,{text}")
