"""What runs in the kit's thread can be awaited from any loop, or from none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from testkit.loop import LoopThread


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    made = LoopThread()
    yield made
    made.close()


class Client:
    """Belongs to the loop that it was made in, as network clients do."""

    title = "client"

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.event = asyncio.Event()

    async def loop_of_use(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def wait(self) -> None:
        await self.event.wait()

    async def fail(self) -> None:
        raise KeyError("reason")


async def made() -> Client:
    return Client()


def test_a_client_works_in_one_loop_after_another(loop: LoopThread) -> None:
    client = loop.run(made())
    shared = loop.shared(client)
    assert {asyncio.run(shared.loop_of_use()) for _ in range(2)} == {client.loop}
    assert shared.title == "client"


async def test_a_failure_comes_back_to_who_awaits(loop: LoopThread) -> None:
    shared = loop.shared(loop.run(made()))
    with pytest.raises(KeyError, match="reason"):
        await shared.fail()


async def test_to_cancel_the_call_is_to_cancel_the_work(loop: LoopThread) -> None:
    client = await loop.call(made())
    cancelled = threading.Event()

    async def work() -> None:
        try:
            await client.wait()
        finally:
            cancelled.set()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(loop.call(work()), 0.05)
    assert cancelled.wait(5)


def test_closing_ends_what_still_runs() -> None:
    loop, ended = LoopThread(), threading.Event()
    kept = []

    async def forever(begun: asyncio.Event) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def start() -> None:
        begun = asyncio.Event()
        kept.append(asyncio.ensure_future(forever(begun)))
        await begun.wait()

    loop.run(start())
    loop.close()
    assert ended.is_set()
