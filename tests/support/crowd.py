"""A crowd of HTTP clients: each request at its time, on a connection of its own, whatever became of those before."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

_PATIENCE = 30.0  # seconds for an answer


@dataclass
class Crowd:
    """What became of its requests. `seconds` are those of the ones that were answered with 200."""

    answers: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    impatient: list[bytes] = field(default_factory=list)  # 503 without Retry-After

    def p(self, percent: float) -> float:
        """A percentile of `seconds`."""
        return sorted(self.seconds)[min(int(len(self.seconds) * percent / 100), len(self.seconds) - 1)]

    async def one(self, port: int, request: bytes) -> str:
        """One request, and what became of it: its status, or the name of what went wrong."""
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(_PATIENCE):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    writer.write(request)
                    answer = await reader.read()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            status = type(error).__name__
        else:
            status = answer.split(b" ", 2)[1].decode() if answer else "nothing"
            if status == "503" and b"\r\nretry-after: " not in answer.lower():
                self.impatient.append(answer)
        if status == "200":
            self.seconds.append(asyncio.get_running_loop().time() - began)
        self.answers[status] += 1
        return status

    async def rush(self, port: int, request: bytes, *, rate: float, seconds: float) -> None:
        """So many a second, answered or not, for so long; returns when all have been answered."""
        loop = asyncio.get_running_loop()
        began, asked = loop.time(), []
        for number in range(int(rate * seconds)):
            ahead = began + number / rate - loop.time()
            if ahead > 0:
                await asyncio.sleep(ahead)
            asked.append(asyncio.ensure_future(self.one(port, request)))
        await asyncio.gather(*asked)
