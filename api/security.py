"""Who may ask: a bearer token (RFC 6750), compared in constant time; and how much may be asked at once.

A pure ASGI wrapper, so that a request is turned away before anything of it is read.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from api.problems import Problem

_App = Callable[[Any, Any, Any], Awaitable[None]]

_OPEN = frozenset({"/health/live", "/health/ready"})
_MOST_BODY = 1024 * 1024 + 64 * 1024  # bytes: an event's data, and what is around it
_MOST_TARGET = 8 * 1024  # bytes of path and query
_MOST_AT_ONCE = 500


class Gate:
    """Lets requests through that have one of the tokens (None: any), aren't too large, and aren't too many."""

    def __init__(self, app: _App, tokens: Collection[str] | None) -> None:
        self._app = app
        self._digests = None if tokens is None else [_digest(token.encode()) for token in tokens]
        self._under_way = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        problem = self._refused(scope)
        if problem is not None:
            await problem.response()(scope, receive, send)
            return
        self._under_way += 1
        try:
            await self._app(scope, _Limited(receive), send)
        finally:
            self._under_way -= 1

    def _refused(self, scope: Any) -> Problem | None:
        if scope["path"] in _OPEN:
            return None
        headers = dict(scope["headers"])
        if self._digests is not None:
            client = self._client(headers.get(b"authorization", b""))
            if client is None:
                return Problem(401, "unauthorized", "a bearer token is needed", {"WWW-Authenticate": "Bearer"})
            scope["projector.client"] = client
        if self._under_way >= _MOST_AT_ONCE:
            return Problem(503, "overloaded", "too many requests at once", {"Retry-After": "1"})
        if len(scope["raw_path"] or b"") + len(scope["query_string"]) > _MOST_TARGET:
            return Problem(414, "uri-too-long", f"more than {_MOST_TARGET} bytes")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > _MOST_BODY:
            return Problem(413, "too-large", f"more than {_MOST_BODY} bytes")
        return None

    def _client(self, header: bytes) -> str | None:
        """Who asks, as a part of the token's digest: whose idempotency keys they are. None: nobody whom we know."""
        scheme, _, token = header.partition(b" ")
        digest = _digest(token.strip())
        # All of them are compared, whichever fits: how long it takes says nothing.
        fits = sum(hmac.compare_digest(digest, one) for one in self._digests or ())
        return digest.hex()[:16] if fits and scheme.lower() == b"bearer" else None


class _Limited:
    """A request's body, cut off where it gets too large: chunks have no length that could be asked before."""

    def __init__(self, receive: Any) -> None:
        self._receive = receive
        self._got = 0

    async def __call__(self) -> Any:
        message = await self._receive()
        self._got += len(message.get("body", b""))
        if self._got > _MOST_BODY:
            raise Problem(413, "too-large", f"more than {_MOST_BODY} bytes")
        return message


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
