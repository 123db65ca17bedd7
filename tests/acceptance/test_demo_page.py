"""The demo's page: there from the start, and on a terminal until somebody ends it."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from testkit.deadline import eventually
from tests.support.fleet import ROOT, environment, projector

SMALL = ("--orders", "1500", "--shop-orders", "100")


class Terminal:
    """A terminal in which somebody runs the demo."""

    def __init__(self, process: asyncio.subprocess.Process, screen: int) -> None:
        self.process = process
        self._screen = screen
        self._said = b""

    def said(self) -> str:
        """What has been printed so far, without what moves the cursor and paints."""
        while True:
            try:
                self._said += os.read(self._screen, 65_536)
            except BlockingIOError:
                break
            except OSError:  # it has ended
                break
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._said.decode("utf-8", "replace"))

    async def says(self, pattern: str, timeout: float) -> str:
        """The first group of what it says before long."""
        found = await eventually(lambda: re.search(pattern, self.said()), timeout)
        assert found is not None
        return str(found[1])


@asynccontextmanager
async def terminal(*arguments: str) -> AsyncIterator[Terminal]:
    screen, there = pty.openpty()
    os.set_blocking(screen, False)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", *arguments),
        cwd=ROOT,
        env=environment(TERM="xterm", COLUMNS="200"),
        stdin=there,
        stdout=there,
        stderr=there,
    )
    os.close(there)
    try:
        yield Terminal(process, screen)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(screen)


async def test_on_a_terminal_the_page_is_there_from_the_start_and_until_it_is_ended() -> None:
    async with terminal("demo", *SMALL) as shown, httpx2.AsyncClient() as client:
        address = await shown.says(r"Watch it: (http://127\.0\.0\.1:\d+/)\s", 60)

        async def seen(what: str) -> bool:
            answer = await client.get(address)
            assert answer.status_code == 200
            assert what in answer.text, what
            return True

        await eventually(lambda: seen('data-state="behind"'), 60)
        assert await shown.says(r"The page is served until Ctrl-C: (\S+)", 120) == address
        await eventually(lambda: seen("Caught up"), 30)
        assert await seen("unreadable")
        order = await client.get(f"{address}console/order", params={"id": "demo-undone"})
        assert "order.payment_failed" in order.text

        async def in_history() -> bool:  # which is added to every few seconds
            past = (await client.get(f"{address}console/history")).json()
            assert max(lag for lag in past["lag"] if lag is not None) > 0
            assert past["lag"][-1] == 0, past["lag"]
            return True

        await eventually(in_history, 30)
        shown.process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(shown.process.wait(), 30) == 0


async def test_where_nobody_looks_on_it_ends_by_itself_with_the_address_last() -> None:
    ended = await projector("demo", *SMALL)
    assert ended.code == 0, ended.out + ended.err
    watched = re.search(r"Watch it: (\S+)", ended.out)
    assert watched is not None
    assert ended.out.splitlines()[-1].endswith(f" {watched[1]}")
