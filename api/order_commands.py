"""The commands as HTTP: 202 with where to look and a token to see the write by; 409 and 412 where it can't be done."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple
from uuid import UUID, uuid5

import orjson
from fastapi import APIRouter, Depends, Request, Response
from pydantic_core import from_json
from uuid_utils import uuid7

from api import etags
from api.described import Answer as Described
from api.described import body_of, operation
from api.freshness import Freshness
from api.parameters import IdempotencyKey, IfMatch, Traceparent
from api.paths import OrderId, Sku, quoted
from api.problems import Problem
from api.tokens import Signer
from producer import commands
from producer.answers import Accepted, Answer, Key, KeyInProgress, KeyReused, Refused, VersionConflict
from producer.commands import InvalidCommand
from producer.handler import CommandHandler
from producer.order import Kind


class _Told(NamedTuple):
    path: str
    kind: Kind
    summary: str
    text: str


_COMMANDS = (
    _Told("confirm", "confirm", "Confirm an order", "Its lines don't change from then on; it may be paid."),
    _Told("pay", "pay", "Take a payment", "Of a confirmed order; in parts, if need be, up to what is due."),
    _Told("fail-payment", "fail_payment", "Note a payment that failed", "It may be tried again."),
    _Told("ship", "ship", "Ship an order", "One that is confirmed and paid in full, or whose delivery failed."),
    _Told("fail-delivery", "fail_delivery", "Note a delivery that failed", "The order is shipped again, or cancelled."),
    _Told("deliver", "deliver", "Note the delivery", "Of an order that is on its way."),
    _Told("cancel", "cancel", "Cancel an order", "Until it is on its way or delivered."),
    _Told("refund", "refund", "Give money back", "Of an order that is cancelled, delivered or could not be delivered."),
    _Told("lines", "add_line", "Add a line", "Until the order is confirmed."),
    _Told("address", "change_address", "Change the address", "Until the order is on its way."),
)
KINDS: tuple[Kind, ...] = ("place", "remove_line", *(told.kind for told in _COMMANDS))

# Made once at random: the ids of orders that are placed under a key, so that the same request names the same order.
_PLACED = UUID("0d1b8a52-6a43-4c2e-9f0f-0b6b9a1a6f3c")
# W3C trace context, version 00: what can't be read of it is ignored, never an error (CONTRACT 1).
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_ACCEPTED = Described(
    "Accepted",
    "Done: the order has this version, and readers will see it.",
    ("Location", "X-Write-Token", "X-Write-Token-Window"),
    202,
)


@dataclass(frozen=True)
class Asked:
    """What a command's request has in its headers."""

    request: Request
    key: str | None
    if_match: str | None
    traceparent: str | None

    @property
    def scope(self) -> str:
        """Whose key it is: keys of two clients never meet. A digest, since the table is readable."""
        return str(self.request.scope.get("projector.client", ""))

    @property
    def answered_under(self) -> Key | None:
        return None if self.key is None else Key(self.scope, self.key)


async def _placing(request: Request, key: IdempotencyKey = None, traceparent: Traceparent = None) -> Asked:
    return Asked(request, key, None, _readable(traceparent))


async def _changing(
    request: Request, key: IdempotencyKey = None, if_match: IfMatch = None, traceparent: Traceparent = None
) -> Asked:
    return Asked(request, key, if_match, _readable(traceparent))


Placing = Annotated[Asked, Depends(_placing)]
Changing = Annotated[Asked, Depends(_changing)]


def router(handler: CommandHandler, signer: Signer, freshness: Freshness) -> APIRouter:
    """`POST /orders` and what is below it."""
    made = APIRouter()

    async def carry_out(asked: Asked, kind: Kind, order_id: str, body: bytes) -> Response:
        expected = _expected_version(body)
        command = commands.read(kind, order_id, body or b"{}")
        allowed = None if asked.if_match is None else etags.expected_versions(asked.if_match)
        if allowed is not None:
            # One is what clients send. Of several the one that stands would have to be found out under the lock.
            if len(allowed) != 1 or expected not in (None, *allowed):
                raise Problem(412, "precondition-failed", "If-Match does not name the order as it stands")
            expected = next(iter(allowed))
        answer = await handler.handle(
            command, expected_version=expected, key=asked.answered_under, traceparent=asked.traceparent
        )
        if isinstance(answer, VersionConflict) and allowed is not None:
            raise Problem(
                412, "precondition-failed", "If-Match does not name the order as it stands", version=answer.version
            )
        return _answered(answer, signer, freshness)

    @made.post(
        "/orders",
        **operation(
            "place",
            "Place an order",
            "The body is the data of `order.placed`. Its id is made here: `Location` has it.",
            "commands",
            _ACCEPTED,
            409,
            **body_of("place"),
        ),
    )
    async def place(asked: Placing) -> Response:
        key = asked.key
        order_id = str(uuid7()) if key is None else str(uuid5(_PLACED, f"{asked.scope}\x1f{key}"))
        command = commands.read("place", order_id, await asked.request.body())
        answer = await handler.handle(command, key=asked.answered_under, traceparent=asked.traceparent)
        return _answered(answer, signer, freshness)

    @made.delete(
        "/orders/{order_id}/lines/{sku}",
        **operation(
            "remove_line",
            "Remove a product's lines",
            "Until the order is confirmed, and not the last one: an order keeps at least one line.",
            "commands",
            _ACCEPTED,
            *(404, 409, 412),
        ),
    )
    async def remove_line(asked: Changing, order_id: OrderId, sku: Sku) -> Response:
        return await carry_out(asked, "remove_line", order_id, orjson.dumps({"sku": sku}))

    def doing(kind: Kind) -> Callable[..., Awaitable[Response]]:
        async def do(asked: Changing, order_id: OrderId) -> Response:
            return await carry_out(asked, kind, order_id, await asked.request.body())

        return do

    for told in _COMMANDS:
        described = operation(
            told.kind, told.summary, told.text, "commands", _ACCEPTED, *(404, 409, 412), **body_of(told.kind)
        )
        made.post(f"/orders/{{order_id}}/{told.path}", **described)(doing(told.kind))
    return made


def _expected_version(body: bytes) -> int | None:
    """`expected_version` beside a command's data, which are an object or nothing."""
    if not body:
        return None
    try:
        found: Any = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise InvalidCommand("not JSON") from None
    if not isinstance(found, dict):
        raise InvalidCommand("not a JSON object")
    version = found.get("expected_version")
    if version is None:
        return None
    if isinstance(version, float) and version.is_integer():
        version = int(version)  # 1.0 is an integer to JSON Schema
    if not isinstance(version, int) or isinstance(version, bool) or not 0 <= version < 2**63:
        raise InvalidCommand("expected_version: not a version")
    return version


def _readable(traceparent: str | None) -> str | None:
    return traceparent if traceparent is not None and _TRACEPARENT.fullmatch(traceparent) else None


def _answered(answer: Answer, signer: Signer, freshness: Freshness) -> Response:
    match answer:
        case Accepted():
            headers = {
                "Location": f"/orders/{quoted(answer.order_id)}",
                "X-Write-Token": signer.write_token(answer.order_id, answer.version),
                "X-Write-Token-Window": str(freshness.token_window()),
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
