"""How much may be asked at once and how large a request may be, with room of their own for those who wait.

Whoever waits for a version or follows a stream may do so for long, and does nothing meanwhile; ordinary requests are
over in no time. So each kind has a number of its own, and a crowd of the one keeps none of the other out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote_plus

from api.problems import Problem

MOST_BODY = 1024 * 1024 + 64 * 1024  # bytes: an event's data, and what is around it
MOST_TARGET = 8 * 1024  # bytes of path and query
MOST_HEADERS = 32 * 1024  # bytes
BODY_SECONDS = 10.0

# Those who wait and those who follow are as many as api.waiting takes.
ORDINARY, WAITING, STREAMS = 500, 600, 400


class Places:
    """Places for requests, by kind."""

    def __init__(self) -> None:
        self._free = {"ordinary": ORDINARY, "waiting": WAITING, "streams": STREAMS}

    @contextmanager
    def one(self, scope: Any) -> Iterator[None]:
        """A place for this request as long as the block runs. Raises Problem if there is none."""
        kind = _kind(scope)
        if not self._free[kind]:
            raise Problem(503, "overloaded", "too many requests at once", {"Retry-After": "1"})
        self._free[kind] -= 1
        try:
            yield
        finally:
            self._free[kind] += 1


def _kind(scope: Any) -> str:
    if scope["path"].endswith("/stream"):
        return "streams"
    # Unquoted, since a name may be written with escapes; what is no name but says so waits with those who do.
    waits = "wait_ms" in unquote_plus(scope["query_string"].decode("latin-1"))
    return "waiting" if waits else "ordinary"


def check(scope: Any, headers: dict[bytes, bytes]) -> None:
    """Raises Problem if the request is larger than may be, as far as its head says, or may be read in two ways."""
    if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MOST_TARGET:
        raise Problem(414, "uri-too-long", f"more than {MOST_TARGET} bytes of path and query")
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEADERS:
        raise Problem(431, "bad-request", f"more than {MOST_HEADERS} bytes of headers")
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length[:20]) > MOST_BODY:
        raise Problem(413, "too-large", f"more than {MOST_BODY} bytes")
    if b"content-length" in headers and b"transfer-encoding" in headers:
        # A server before this one may go by the other, and take what one client sent for another's request.
        raise Problem(400, "bad-request", "the body's length is said in two ways", {"Connection": "close"})


class Limited:
    """A request's body, cut off where it gets too large, since chunks have no length that could be asked before, or
    too slow."""

    def __init__(self, receive: Any) -> None:
        self._receive = receive
        self._got = 0
        self._ended = False
        self._until = asyncio.get_running_loop().time() + BODY_SECONDS

    async def __call__(self) -> Any:
        """Raises Problem."""
        if self._ended:  # what comes then is that the client is gone, and has no time
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            raise Problem(408, "too-slow", "the body took too long to come", {"Connection": "close"}) from None
        self._got += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        if self._got > MOST_BODY:
            raise Problem(413, "too-large", f"more than {MOST_BODY} bytes")
        return message
