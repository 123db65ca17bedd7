"""The commands as HTTP: 202 with where to look and a token to see the write by; 409 and 412 where it can't be done."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID, uuid5

import orjson
from fastapi import APIRouter, Header, Path, Request, Response
from pydantic_core import from_json
from uuid_utils import uuid7

from api import etags
from api.problems import Problem
from api.tokens import Signer
from producer import commands
from producer.answers import Accepted, Answer, Key, KeyInProgress, KeyReused, Refused, VersionConflict
from producer.commands import InvalidCommand
from producer.handler import CommandHandler
from producer.order import Kind

_KINDS: dict[str, Kind] = {
    "confirm": "confirm",
    "pay": "pay",
    "fail-payment": "fail_payment",
    "ship": "ship",
    "fail-delivery": "fail_delivery",
    "deliver": "deliver",
    "cancel": "cancel",
    "refund": "refund",
    "lines": "add_line",
    "address": "change_address",
}
# Made once at random: the ids of orders that are placed under a key, so that the same request names the same order.
_PLACED = UUID("0d1b8a52-6a43-4c2e-9f0f-0b6b9a1a6f3c")
_LONGEST_KEY = 200

IdempotencyKey = Annotated[str | None, Header(max_length=_LONGEST_KEY, min_length=1)]
OrderId = Annotated[str, Path(min_length=1, max_length=200)]


def router(handler: CommandHandler, signer: Signer) -> APIRouter:
    """`POST /orders` and what is below it."""
    made = APIRouter()

    @made.post("/orders", status_code=202)
    async def place(
        request: Request, idempotency_key: IdempotencyKey = None, traceparent: Annotated[str | None, Header()] = None
    ) -> Response:
        order_id = (
            str(uuid7()) if idempotency_key is None else str(uuid5(_PLACED, f"{_scope(request)}\x1f{idempotency_key}"))
        )
        command = commands.read("place", order_id, await request.body())
        key = None if idempotency_key is None else Key(_scope(request), idempotency_key)
        return _answered(await handler.handle(command, key=key, traceparent=traceparent), signer)

    @made.delete("/orders/{order_id}/lines/{sku}", status_code=202)
    async def remove_line(
        request: Request,
        order_id: OrderId,
        sku: OrderId,
        idempotency_key: IdempotencyKey = None,
        if_match: Annotated[str | None, Header()] = None,
        traceparent: Annotated[str | None, Header()] = None,
    ) -> Response:
        body = orjson.dumps({"sku": sku})
        return await _do(request, "remove_line", order_id, body, idempotency_key, if_match, traceparent)

    @made.post("/orders/{order_id}/{command}", status_code=202)
    async def do(
        request: Request,
        order_id: OrderId,
        command: str,
        idempotency_key: IdempotencyKey = None,
        if_match: Annotated[str | None, Header()] = None,
        traceparent: Annotated[str | None, Header()] = None,
    ) -> Response:
        if command not in _KINDS:
            raise Problem(404, "not-found", "there is no such command")
        return await _do(
            request, _KINDS[command], order_id, await request.body(), idempotency_key, if_match, traceparent
        )

    async def _do(
        request: Request,
        kind: Kind,
        order_id: str,
        body: bytes,
        idempotency_key: str | None,
        if_match: str | None,
        traceparent: str | None,
    ) -> Response:
        expected = _expected_version(body)
        command = commands.read(kind, order_id, body or b"{}")
        key = None if idempotency_key is None else Key(_scope(request), idempotency_key)
        allowed = None if if_match is None else etags.expected_versions(if_match)
        if allowed is not None:
            # One is what clients send. Of several the one that stands would have to be found out under the lock.
            if len(allowed) != 1 or expected not in (None, *allowed):
                raise Problem(412, "precondition-failed", "If-Match does not name the order as it stands")
            expected = next(iter(allowed))
        answer = await handler.handle(command, expected_version=expected, key=key, traceparent=traceparent)
        if isinstance(answer, VersionConflict) and allowed is not None:
            raise Problem(
                412, "precondition-failed", "If-Match does not name the order as it stands", version=answer.version
            )
        return _answered(answer, signer)

    return made


def _expected_version(body: bytes) -> int | None:
    """`expected_version` beside a command's data. What isn't JSON the command's own reader complains of."""
    try:
        found: Any = from_json(body)
    except ValueError:
        return None
    version = found.get("expected_version") if isinstance(found, dict) else None
    if version is None:
        return None
    if not isinstance(version, int) or isinstance(version, bool) or not 0 <= version < 2**63:
        raise InvalidCommand("expected_version: not a version")
    return version


def _answered(answer: Answer, signer: Signer) -> Response:
    match answer:
        case Accepted():
            headers = {
                "Location": f"/orders/{_quoted(answer.order_id)}",
                "X-Write-Token": signer.write_token(answer.order_id, answer.version),
            }
            body = {"order_id": answer.order_id, "version": answer.version, "repeated": answer.repeated}
            return Response(orjson.dumps(body), 202, headers, "application/json")
        case Refused(reason="not_found"):
            raise Problem(404, "not-found", answer.why)
        case Refused(reason="too_large"):
            raise Problem(413, "too-large", answer.why)
        case Refused():
            raise Problem(409, "refused", answer.why, reason=answer.reason, version=answer.version)
        case VersionConflict():
            raise Problem(409, "version-conflict", "the order has another version", version=answer.version)
        case KeyReused():
            raise Problem(422, "key-reused", "the idempotency key was used for another request")
        case KeyInProgress():
            raise Problem(409, "key-in-progress", "a request with this key is under way", {"Retry-After": "1"})


def _scope(request: Request) -> str:
    """Whose key it is: keys of two clients never meet. A digest, since the table is readable."""
    return str(request.scope.get("projector.client", ""))


def _quoted(order_id: str) -> str:
    return quote(order_id, safe="")
