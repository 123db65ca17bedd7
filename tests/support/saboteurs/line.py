"""One connection through a proxy, and what is done to its bytes on the way."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

_PIECE = 64 * 1024  # bytes read at once
_PIECES = 64  # under way in one direction; then whoever sends has to wait, as with a full window
_LOOK = 0.01  # seconds between looks at a way that stands still

Change = Callable[[bytes], bytes]
_Piece = tuple[float, bytes | None]  # when it is due, and None for the end


@dataclass
class Way:
    """One direction of all connections. What is set here holds from the next piece on."""

    delay: float = 0.0  # seconds that each piece takes longer
    rate: float | None = None  # bytes a second, on each connection
    held: bool = False  # nothing passes; all of it will once it is free again, as TCP sends again what was dropped
    cut_after: int | None = None  # the connection that carries this byte, counted from now over all, is cut behind it
    passed: int = 0  # bytes
    delayed: int = 0  # pieces
    stopped: int = 0  # pieces that had to wait while the way was held
    cuts: int = 0

    def cut_within(self, size: int) -> int | None:
        """After how many of these bytes the connection is to be cut; None if it isn't."""
        if self.cut_after is None:
            return None
        if self.cut_after > size:
            self.cut_after -= size
            return None
        size, self.cut_after = self.cut_after, None
        self.cuts += 1
        return size


class Severed(Exception):
    """Raised by a filter: this connection ends here, abruptly (RST) or in good order (FIN)."""

    def __init__(self, *, abruptly: bool) -> None:
        super().__init__("severed")
        self.abruptly = abruptly


class Filter:
    """What understands the bytes of one connection and may change them; this one lets everything pass."""

    def to_server(self, data: bytes) -> bytes:
        return data

    def to_client(self, data: bytes) -> bytes:
        return data


def hang_up(writer: asyncio.StreamWriter, *, abruptly: bool) -> None:
    """Close a connection: with FIN behind what was sent, or with RST at once."""
    if not abruptly:
        writer.close()
        return
    with suppress(OSError):  # it may be gone already
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


class Line:
    """A client, a server, and what goes to and fro between them."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ways: tuple[Way, Way], filtering: Filter
    ) -> None:
        self.abandoned = False
        self._reader = reader
        self._ends = [writer]
        self._ways = ways
        self._filter = filtering

    def end(self, *, abruptly: bool) -> None:
        """Hang up on both sides."""
        for writer in self._ends:
            hang_up(writer, abruptly=abruptly)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry bytes to and from this server until both sides have ended it, or one was lost."""
        self._ends.append(writer)
        to_server, to_client = self._ways
        abruptly = False
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(to_server, self._filter.to_server, self._reader, writer))
                pumps.create_task(self._pump(to_client, self._filter.to_client, reader, self._ends[0]))
        except* Severed as severed:
            abruptly = _first(severed).abruptly
        except* OSError:
            abruptly = True
        self.end(abruptly=abruptly)

    async def _pump(self, way: Way, change: Change, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        under_way: asyncio.Queue[_Piece] = asyncio.Queue(_PIECES)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._take(way, change, reader, under_way))
            both.create_task(self._give(way, under_way, writer))

    async def _take(
        self, way: Way, change: Change, reader: asyncio.StreamReader, under_way: asyncio.Queue[_Piece]
    ) -> None:
        now = asyncio.get_running_loop().time
        data: bytes | None = b""
        while data is not None:
            data = await reader.read(_PIECE) or None
            if not self.abandoned:
                way.delayed += way.delay > 0
                await under_way.put((now() + way.delay, data and change(data)))

    async def _give(self, way: Way, under_way: asyncio.Queue[_Piece], writer: asyncio.StreamWriter) -> None:
        now = asyncio.get_running_loop().time
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(max(due - now(), 0))
            way.stopped += way.held
            while way.held or self.abandoned:  # noqa: ASYNC110  other threads set it
                await asyncio.sleep(_LOOK)
            if data is None:
                break
            await _write(way, data, writer)
        if writer.can_write_eof():
            writer.write_eof()


async def _write(way: Way, data: bytes, writer: asyncio.StreamWriter) -> None:
    cut = way.cut_within(len(data))
    data = data[:cut]
    while data:
        size = len(data) if way.rate is None else max(int(way.rate * _LOOK), 1)
        writer.write(data[:size])
        way.passed += len(data[:size])
        data = data[size:]
        await writer.drain()
        if way.rate is not None:
            await asyncio.sleep(_LOOK)
    if cut is not None:
        raise Severed(abruptly=False)


def _first(group: BaseExceptionGroup[Severed]) -> Severed:
    one: BaseException = group
    while isinstance(one, BaseExceptionGroup):
        one = one.exceptions[0]
    assert isinstance(one, Severed)
    return one
