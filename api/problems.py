"""What goes wrong, as `application/problem+json` (RFC 9457): no value of a request, and no traceback, is in it."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from producer.commands import InvalidCommand
from schemas.errors import TryAgain, Unstorable

_log = structlog.get_logger("projector.api")

_TYPES = "urn:projector:problem:"
_SOON = "1"  # seconds after which to try again, where nothing better is known


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
        body = {
            "type": _TYPES + self.kind,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.more,
        }
        return Response(orjson.dumps(body), self.status, self.headers, "application/problem+json")


def install(app: FastAPI) -> None:
    """Have every error of the app answered as a problem."""

    async def problem(_: Request, error: Problem) -> Response:
        return error.response()

    async def invalid(_: Request, error: InvalidCommand) -> Response:
        return Problem(422, "invalid", error.why).response()

    async def unstorable(_: Request, __: Unstorable) -> Response:
        return Problem(400, "invalid", "a value that no text in the database can hold").response()

    async def unavailable(_: Request, error: TryAgain) -> Response:
        _log.warning("request_unavailable", error=str(error))
        return Problem(503, "unavailable", "a dependency is away for now", {"Retry-After": _SOON}).response()

    async def malformed(_: Request, error: RequestValidationError) -> Response:
        where = [".".join(map(str, one["loc"])) + ": " + str(one["msg"]) for one in error.errors()]
        return Problem(422, "invalid", "; ".join(where)).response()

    async def http(_: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
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
        (HTTPException, http),
        (Exception, unexpected),
    ):
        app.add_exception_handler(kind, handler)  # type: ignore[arg-type]  # Starlette types handlers of Exception alone


def _kind(status: int) -> str:
    return HTTPStatus(status).phrase.lower().replace(" ", "-")
