"""`together`: parts run side by side, stop in time, and a failure of one is everybody's."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

import pytest

from runtime import service
from runtime.service import _with_signals, together
from schemas.errors import Unavailable

LONG = 60.0


class Part:
    """A part that runs until `stop` (or for ever), and knows how it ended."""

    def __init__(self, until: asyncio.Event | None = None, then: Exception | None = None) -> None:
        self._until, self._then = until or asyncio.Event(), then
        self.started, self.ended, self.cancelled = asyncio.Event(), False, False

    async def run(self) -> None:
        self.started.set()
        try:
            await self._until.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if self._then is not None:
            raise self._then
        self.ended = True


async def run(stop: asyncio.Event, grace: float, *parts: Part) -> None:
    await asyncio.wait_for(together(stop, grace, *(part.run() for part in parts)), 5)


async def test_a_part_on_which_a_cancellation_is_lost_is_cancelled_again() -> None:
    """As `asyncio.wait_for` does in Python 3.11, if what it waits for is done in the moment of the cancellation."""
    lost = 0

    async def deaf() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if lost:
                    raise
                lost += 1

    failing = asyncio.Event()
    failing.set()
    with pytest.raises(LookupError):
        await asyncio.wait_for(
            together(asyncio.Event(), LONG, deaf(), Part(failing, then=LookupError("the reason")).run()), 5
        )
    assert lost == 1


async def test_a_process_with_a_part_that_nothing_ends_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hold what others wait for. Where it stands is in the log by then."""
    ended: asyncio.Queue[int] = asyncio.Queue()
    monkeypatch.setattr(os, "_exit", ended.put_nowait)
    monkeypatch.setattr(service, "_AGAIN", 0.001)
    gives_up = asyncio.Event()

    async def deaf() -> None:
        while not gives_up.is_set():
            with suppress(asyncio.CancelledError):
                await gives_up.wait()

    stop = asyncio.Event()
    stop.set()
    running = asyncio.ensure_future(together(stop, 0, deaf()))
    assert await asyncio.wait_for(ended.get(), 5) == 1
    gives_up.set()
    await running


async def test_nothing_is_soon_cancelled() -> None:
    """A client that never got so far as to have tasks is torn down as well."""
    await asyncio.wait_for(service.cancelled([]), 5)


async def test_whether_all_parts_ended_by_themselves_is_told() -> None:
    stop = asyncio.Event()
    stop.set()
    assert await together(stop, LONG, Part(stop).run())
    assert not await together(stop, 0.01, Part(stop).run(), Part().run())


async def test_a_part_that_a_library_cancelled_has_failed() -> None:
    """Else a worker would go on without it, in silence: aiokafka raises CancelledError at those it didn't cancel."""

    async def cut_off() -> None:
        raise asyncio.CancelledError

    other = Part()
    with pytest.raises(Unavailable, match="of its own accord"):
        await asyncio.wait_for(together(asyncio.Event(), LONG, other.run(), cut_off()), 5)
    assert other.cancelled


async def test_it_ends_when_all_parts_have_ended_though_nobody_asked_to_stop() -> None:
    done = asyncio.Event()
    done.set()
    parts = [Part(done), Part(done)]
    await run(asyncio.Event(), LONG, *parts)
    assert all(part.ended for part in parts)
    await together(asyncio.Event(), LONG)


async def test_one_part_that_ends_does_not_end_the_others() -> None:
    first, stop = asyncio.Event(), asyncio.Event()
    short, long = Part(first), Part(stop)
    running = asyncio.ensure_future(run(stop, LONG, short, long))
    await long.started.wait()
    first.set()
    await asyncio.wait([running], timeout=0.01)
    assert (short.ended, long.ended, running.done()) == (True, False, False)
    stop.set()
    await running
    assert long.ended


async def test_parts_that_finish_within_the_grace_are_not_cancelled() -> None:
    stop, drained = asyncio.Event(), asyncio.Event()
    part = Part(drained)
    running = asyncio.ensure_future(run(stop, LONG, part))
    await part.started.wait()
    stop.set()
    asyncio.get_running_loop().call_later(0.01, drained.set)
    await running
    assert (part.ended, part.cancelled) == (True, False)


async def test_a_part_that_outlives_the_grace_is_cancelled_and_that_is_no_failure() -> None:
    stop = asyncio.Event()
    stop.set()
    stubborn, good = Part(), Part(stop)
    await run(stop, 0.01, stubborn, good)
    assert (stubborn.cancelled, good.ended) == (True, True)


async def test_a_failure_cancels_the_others_at_once_and_is_raised() -> None:
    now = asyncio.Event()
    now.set()
    other = Part()
    with pytest.raises(ValueError, match="broken"):
        await run(asyncio.Event(), LONG, other, Part(now, ValueError("broken")))
    assert other.cancelled


async def test_a_failure_while_stopping_ends_the_grace() -> None:
    stop = asyncio.Event()
    stop.set()
    slow = Part()
    with pytest.raises(ValueError, match="broken"):
        await run(stop, LONG, slow, Part(stop, ValueError("broken")))
    assert slow.cancelled


async def test_being_cancelled_from_outside_cancels_every_part() -> None:
    parts = [Part(), Part()]
    running = asyncio.ensure_future(run(asyncio.Event(), LONG, *parts))
    await asyncio.gather(*(part.started.wait() for part in parts))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert all(part.cancelled for part in parts)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_asks_to_stop_and_a_second_one_ends_the_process(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: asyncio.Queue[int] = asyncio.Queue()
    monkeypatch.setattr(os, "_exit", ended.put_nowait)

    async def main(stop: asyncio.Event) -> int:
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stop.wait(), 5)
        assert ended.empty()
        os.kill(os.getpid(), number)
        return await ended.get()

    try:
        assert await asyncio.wait_for(_with_signals(main), 5) == 130
    finally:
        for one in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(one)
