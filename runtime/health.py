"""What a process knows of its own state, and the three pages that tell it: live, ready, metrics.

Live: the event loop runs. Ready: every check is fine, which is what an orchestrator should send nothing for, but wait
for in a rolling restart.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, make_asgi_app

_FINE = "ok"
_JSON = (b"content-type", b"application/json")
_App = Callable[..., Awaitable[None]]


class Checks:
    """The checks, by name, each with what is wrong; None: nothing."""

    def __init__(self, problems: Mapping[str, str | None]) -> None:
        self._problems = dict(problems)

    def fine(self, *checks: str) -> None:
        for check in checks:
            self._problems[check] = None

    def wrong(self, check: str, why: str) -> None:
        """`why` is shown to whoever may ask: no secrets, no payloads."""
        self._problems[check] = why

    @property
    def ready(self) -> bool:
        return not any(self._problems.values())

    def report(self) -> dict[str, Any]:
        return {"ready": self.ready, "checks": {check: why or _FINE for check, why in self._problems.items()}}


def pages(health: Checks, registry: CollectorRegistry) -> _App:
    """An ASGI app: `/health/live`, `/health/ready` (503 unless all is fine), `/metrics`."""
    metrics: _App = make_asgi_app(registry)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        match scope["path"]:
            case "/health/live":
                await _answer(send, 200, {"live": True})
            case "/health/ready":
                await _answer(send, 200 if health.ready else 503, health.report())
            case "/metrics":
                await metrics(scope, receive, send)
            case _:
                await _answer(send, 404, {"pages": ["/health/live", "/health/ready", "/metrics"]})

    return app


async def _answer(send: Any, status: int, body: Any) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [_JSON, (b"cache-control", b"no-store")]})
    await send({"type": "http.response.body", "body": orjson.dumps(body)})
