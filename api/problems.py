"""What goes wrong, as `application/problem+json` (RFC 9457): no value of a request, and no traceback, is in it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path

from producer.commands import InvalidCommand
from runtime.http_connection import problem as document
from schemas.errors import TryAgain, Unstorable

_log = structlog.get_logger("projector.api")

_SOON = "1"  # seconds after which to try again, where nothing better is known
_QUIET = 1.0  # seconds between two lines of the log about requests that PostgreSQL was away or too busy for


class Problem(Exception):
    """An answer that is no success. `kind` is for programs, `detail` for a person; `more` are its own members."""

    def __init__(
        self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more

    def response(self) -> Response:
        body = document(self.status, self.kind, self.detail, **self.more)
        return Response(body, self.status, self.headers, "application/problem+json")


def install(app: FastAPI) -> None:
    """Have every error of the app answered as a problem."""
    methods, away = _Methods(app), _Away()

    async def problem(_: Request, error: Problem) -> Response:
        return error.response()

    async def invalid(_: Request, error: InvalidCommand) -> Response:
        return Problem(422, "invalid", error.why).response()

    async def unstorable(_: Request, __: Unstorable) -> Response:
        return Problem(400, "invalid", "a value that no text in the database can hold").response()

    async def unavailable(_: Request, error: TryAgain) -> Response:
        away.say(error)
        return Problem(503, "unavailable", "a dependency is away for now", {"Retry-After": _SOON}).response()

    async def malformed(_: Request, error: RequestValidationError) -> Response:
        where = [".".join(map(str, one["loc"])) + ": " + str(one["msg"]) for one in error.errors()]
        return Problem(422, "invalid", "; ".join(where)).response()

    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Problem(400, "invalid", "the request did not come to its end").response()  # nobody hears it

    async def http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = methods.of(request.scope["path"])
        return Problem(error.status_code, _kind(error.status_code), str(error.detail), headers).response()

    async def unexpected(_: Request, error: Exception) -> Response:
        _log.error("request_failed", error=type(error).__name__)
        return Problem(500, "internal", "something went wrong here").response()

    for kind, handler in (
        (Problem, problem),
        (InvalidCommand, invalid),
        (Unstorable, unstorable),
        (TryAgain, unavailable),
        (RequestValidationError, malformed),
        (ClientDisconnect, gone),
        (HTTPException, http),
        (Exception, unexpected),
    ):
        app.add_exception_handler(kind, handler)  # type: ignore[arg-type]  # Starlette types handlers of Exception alone


class _Away:
    """Says in the log that PostgreSQL is away or too busy: once a second, with how many requests that was so for."""

    def __init__(self) -> None:
        self._said_at = -_QUIET
        self._times = 0

    def say(self, error: TryAgain) -> None:
        self._times += 1
        if time.monotonic() - self._said_at >= _QUIET:
            _log.warning("request_unavailable", error=str(error), requests=self._times)
            self._said_at, self._times = time.monotonic(), 0


class _Methods:
    """Which methods a path has. The framework names those of one of its routes."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def of(self, path: str) -> str:
        """For `Allow`."""
        found: set[str] = set()
        for route in iter_route_contexts(self._app.routes):
            if route.path and route.methods and compile_path(route.path)[0].match(path):
                found |= route.methods
        return ", ".join(sorted(found | {"HEAD"} if "GET" in found else found))


def _kind(status: int) -> str:
    return HTTPStatus(status).phrase.lower().replace(" ", "-")
