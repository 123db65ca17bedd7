"""A crowd of HTTP clients: each asks at its times, however the others fare."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

_PATIENCE = 30.0  # seconds for an answer


@dataclass
class Crowd:
    """What became of its requests, by status, or by the name of what went wrong. `seconds` are those of the ones that
    were answered with 200."""

    answers: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    impatient: list[bytes] = field(default_factory=list)  # heads of 503 without Retry-After

    def p(self, percent: float) -> float:
        """A percentile of `seconds`."""
        return sorted(self.seconds)[min(int(len(self.seconds) * percent / 100), len(self.seconds) - 1)]

    async def one(self, port: int, request: bytes) -> str:
        """One request on a connection of its own, and what became of it."""
        try:
            async with asyncio.timeout(_PATIENCE):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except (OSError, TimeoutError) as error:
            self.answers[type(error).__name__] += 1
            return type(error).__name__
        try:
            return await self._ask(reader, writer, request)
        finally:
            writer.close()

    async def rush(self, port: int, request: bytes, *, clients: int, rate: float, seconds: float) -> None:
        """So many clients, each with a connection that it keeps, ask `rate` times a second in all, for so long. Who has
        no answer yet when its next time comes asks late; returns when all have been answered."""
        connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(clients)]
        loop = asyncio.get_running_loop()
        began, period = loop.time(), clients / rate

        async def client(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            at = began + number / rate
            while at < began + seconds:
                await asyncio.sleep(max(at - loop.time(), 0))
                if (await self._ask(reader, writer, request)) not in ("200", "503"):
                    return
                at = max(at + period, loop.time())

        try:
            await asyncio.gather(*(client(number, *one) for number, one in enumerate(connections)))
        finally:
            for _, writer in connections:
                writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> str:
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(_PATIENCE):
                writer.write(request)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            status = type(error).__name__
        else:
            status = head.split(b" ", 2)[1].decode()
            if status == "503" and b"\r\nretry-after: " not in head:
                self.impatient.append(head)
        if status == "200":
            self.seconds.append(asyncio.get_running_loop().time() - began)
        self.answers[status] += 1
        return status
