"""Requests counted and timed by route, and HEAD answered where GET is: pure ASGI wrappers round everything."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

_App = Callable[[Any, Any, Any], Awaitable[None]]

_NONE = "none"  # the route of a request that has none, or was turned away before
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Counted:
    """Counts answers by route and class of status, and the time until they begin: a stream's end says nothing."""

    def __init__(self, app: _App, registry: CollectorRegistry) -> None:
        self._app = app
        self._known: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._requests = Counter(
            "projector_api_requests", "Answers, by route and class of status", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "projector_api_request_seconds",
            "Until an answer begins",
            ["route"],
            registry=registry,
            buckets=_SECONDS,
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                counts, seconds = self._of(getattr(scope.get("route"), "path", _NONE), message["status"] // 100)
                counts.inc()
                seconds.observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, counted)

    def _of(self, route: str, kind: int) -> tuple[Counter, Histogram]:
        """Looked up by their labels once: that is most of what counting costs."""
        found = self._known.get((route, kind))
        if found is None:
            found = self._known[route, kind] = self._requests.labels(route, f"{kind}xx"), self._seconds.labels(route)
        return found


class HeadAsGet:
    """HEAD is GET without the body (RFC 9110, 9.3.2)."""

    def __init__(self, app: _App) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        ended = False

        async def headless(message: Any) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                await send(message)
            elif not ended:
                ended = True  # of a stream nothing more is sent either: it ends when the server says so
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app({**scope, "method": "GET"}, receive, headless)
