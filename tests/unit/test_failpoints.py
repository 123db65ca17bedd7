"""Failpoints: armed ones act at their nth time, all others never."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from random import Random
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

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


async def test_a_point_that_acts_says_so_before_and_one_that_does_not_says_nothing() -> None:
    points = Failpoints("here=raise:2,there=sleep(0.001)")
    with capture_logs() as said:
        await points.reach("here")
        await points.reach("there")
        with pytest.raises(RuntimeError):
            await points.reach("here")
    assert [(line["event"], line["log_level"], line["point"], line["action"]) for line in said] == [
        ("failpoint_reached", "warning", "there", "sleep"),
        ("failpoint_reached", "warning", "here", "raise"),
    ]


def test_what_a_point_says_is_written_before_it_kills_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", _KILLED], capture_output=True, check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    said = orjson.loads(ended.stderr)
    assert (said["event"], said["point"], said["action"]) == ("failpoint_reached", "here", "kill9")


_KILLED = """
import asyncio
from runtime import logs
from runtime.failpoints import Failpoints
logs.configure("info", "json")
asyncio.run(Failpoints("here=kill9").reach("here"))
"""


async def test_a_star_means_each_time() -> None:
    points = Failpoints("here=raise:*")
    for _ in range(3):
        with pytest.raises(RuntimeError, match="failpoint here"):
            await points.reach("here")


async def test_a_chance_strikes_about_as_often_as_it_says() -> None:
    points, struck = Failpoints("here=raise:1/10", Random(5)), 0
    for _ in range(1000):
        try:
            await points.reach("here")
        except RuntimeError:
            struck += 1
    assert 70 < struck < 130


async def test_sleeping_lets_others_run_and_blocking_does_not() -> None:
    others: list[str] = []
    loop = asyncio.get_running_loop()
    loop.call_soon(others.append, "while it slept")
    await Failpoints("here=sleep(0.02)").reach("here")
    assert others == ["while it slept"]
    loop.call_soon(others.append, "while it blocked")
    began = time.monotonic()
    await Failpoints("here=block(0.02)").reach("here")
    assert time.monotonic() - began >= 0.02
    assert others == ["while it slept"]


def test_it_says_what_is_armed() -> None:
    assert Failpoints("b=raise,a=block(1.5):1/3").armed == ["a", "b"]
    assert Failpoints().armed == []


@pytest.mark.parametrize(
    "text",
    [
        "here",
        "here=",
        "here=explode",
        "here=raise:0",
        "here=raise:-1",
        "here=raise:x",
        "here=raise:²",
        "=raise",
        "here=sleep",
        "here=sleep()",
        "here=block(x)",
        "here=raise:1/0",
        "here=raise:2/3",
        "here=raise:**",
    ],
)
def test_what_makes_no_sense_is_refused_with_the_form_it_should_have(text: str) -> None:
    with pytest.raises(Refused, match="name=action:when"):
        Failpoints(f"fine=hang:2,{text}")
