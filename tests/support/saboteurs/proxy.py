"""A TCP proxy that does what networks do: delay, stand still, cut, reset, fall silent, lead to another server.

It works in a thread of its own: a test that blocks its loop while a server starts doesn't hold up the traffic.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from runtime.embedded.ports import LOOPBACK, free_port
from tests.support.saboteurs.line import Filter, Line, Way, hang_up

T = TypeVar("T")
Manners = Literal["serve", "refuse", "ignore"]

_PATIENCE = 10.0  # seconds for the proxy's own thread to do as it is told


class Proxy:
    """Stands before one server. Its methods may be called from any thread.

    `to_server` and `to_client` are the two directions; `counts` tells what was done, so that a test can show that its
    fault happened. `manners` towards new connections: serve them, refuse them, or take them and never say a word.
    """

    def __init__(self, upstream: str, filters: Callable[[], Filter] = Filter) -> None:
        """`upstream` is `host:port`; `filters` makes what understands the bytes of one connection."""
        self.port = free_port()
        self.address = f"{LOOPBACK}:{self.port}"
        self.counts: Counter[str] = Counter()
        self.to_server, self.to_client = Way(), Way()
        self.manners: Manners = "serve"
        self._upstream = upstream
        self._filters = filters
        self._lines: dict[Line, asyncio.Task[None]] = {}
        self._ignored: list[asyncio.StreamWriter] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{self.port}", daemon=True)

    def lead_to(self, upstream: str) -> None:
        """Connections made from now on go to this server; those there are stay with theirs."""
        self._upstream = upstream

    def cut(self) -> int:
        """Close every connection in good order; how many there were."""
        return self._to("cut", self._lines, _end)

    def reset(self) -> int:
        """Break every connection off, as a machine does that has forgotten them; how many there were."""
        return self._to("reset", self._lines, _break_off)

    def abandon(self) -> int:
        """Never carry a byte on the connections there are again, not even their end: half-open, from either side."""
        return self._to("abandoned", self._lines, _abandon)

    def forget(self) -> int:
        """Break off those that were abandoned, as the ends' own machines do when they find out; how many there were."""
        return self._to("forgotten", [line for line in list(self._lines) if line.abandoned], _break_off)

    def open_lines(self) -> int:
        """The connections there are."""
        return len(self._lines)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._do(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, LOOPBACK, self.port)

    async def _close(self) -> None:
        self._server.close()
        for writer in self._ignored:
            hang_up(writer, abruptly=True)
        tasks = list(self._lines.values())
        for line, task in list(self._lines.items()):
            _break_off(line, task)
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports that were told to close do so in the loop's next turn

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts["connections"] += 1
        if self.manners == "refuse":
            self.counts["refused"] += 1
            hang_up(writer, abruptly=True)
        elif self.manners == "ignore":
            self.counts["ignored"] += 1
            self._ignored.append(writer)
        else:
            line = Line(reader, writer, (self.to_server, self.to_client), self._filters())
            self._lines[line] = asyncio.ensure_future(self._serve(line))

    async def _serve(self, line: Line) -> None:
        host, _, port = self._upstream.rpartition(":")
        try:
            upstream = await asyncio.open_connection(host, int(port))
        except OSError:
            self.counts["unreachable"] += 1
            line.end(abruptly=True)
        else:
            await line.carry(*upstream)
        finally:
            del self._lines[line]

    def _to(self, what: str, lines: Iterable[Line], act: Callable[[Line, asyncio.Task[None]], None]) -> int:
        async def told() -> int:
            found = [(line, self._lines[line]) for line in lines if line in self._lines]
            for line, task in found:
                act(line, task)
            return len(found)

        number = self._do(told())
        self.counts[what] += number
        return number

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)


def _end(line: Line, task: asyncio.Task[None]) -> None:
    line.end(abruptly=False)
    task.cancel()


def _break_off(line: Line, task: asyncio.Task[None]) -> None:
    line.end(abruptly=True)
    task.cancel()


def _abandon(line: Line, _: asyncio.Task[None]) -> None:
    line.abandoned = True
