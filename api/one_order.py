"""`GET /orders/{order_id}`, the read that there is most of: the framework routes it, and its parameters are read here.

FastAPI's own reading of five parameters costs as much as everything else that is done for an answer. So a plain route
answers, by the rules that the OpenAPI document states, and the one beside it is there for the document alone;
schemathesis holds the two against each other.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

from fastapi import APIRouter, Request, Response
from starlette.routing import Route

from api import etags
from api.described import Answer, operation, unchanged
from api.loading import Found
from api.parameters import MOST_WAIT, IfNoneMatch, Minimum, Token, Wait
from api.paths import OrderId, unquoted
from api.problems import Problem
from api.reads import CACHE, Reads
from schemas.events import MAX_KEY

_PATH = "/orders/{order_id}"
_SHOWN = ("Cache-Control", "Age")
_LONGEST_TOKEN = 2_000  # characters
_MOST_VERSION = 2**63 - 1
_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)


class Asked(NamedTuple):
    """What a reader of an order asks for. `wait` is in milliseconds."""

    order_id: str
    minimum: int = 0
    wait: int = 0
    token: str | None = None
    none_match: str | None = None


def asked(request: Request) -> Asked:
    """What a request asks for. Raises Problem (422) if it is none that the document allows."""
    order_id = unquoted(request.path_params["order_id"])
    if not 0 < len(order_id) <= MAX_KEY or "\0" in order_id:
        raise _wrong("path.order_id", f"an id has 1 to {MAX_KEY} characters, and no NUL")
    token = none_match = None
    for name, value in request.scope["headers"]:
        if name == b"x-write-token":
            token = value.decode("latin-1")
            if len(token) > _LONGEST_TOKEN:
                raise _wrong("header.X-Write-Token", f"more than {_LONGEST_TOKEN} characters")
        elif name == b"if-none-match":
            none_match = value.decode("latin-1") if none_match is None else f"{none_match},{value.decode('latin-1')}"
    if not request.scope["query_string"]:
        return Asked(order_id, token=token, none_match=none_match)
    query = request.query_params
    minimum = _number("min_version", query.get("min_version"), _MOST_VERSION)
    return Asked(order_id, minimum, _number("wait_ms", query.get("wait_ms"), MOST_WAIT), token, none_match)


def add(made: APIRouter, reads: Reads) -> None:
    """Add the route, and its description."""

    async def answer(request: Request) -> Response:
        request.scope["route"] = route  # which FastAPI would say: requests are counted by it
        what = asked(request)
        token = reads.token(what.token, what.order_id)
        found = await reads.orders.read(what.order_id, token=token, minimum=what.minimum, wait=what.wait / 1000)
        return answered(reads, what, found)

    route = Route(_PATH, answer, methods=["GET"], include_in_schema=False)
    made.routes.append(route)

    @made.get(
        _PATH,
        **operation(
            "order",
            "Read an order",
            "The read model as it stands, or, asked for, not older than a write or a version.",
            "reads",
            Answer("OrderAnswer", "The order, its version, and how old it may be.", ("ETag", "X-Write-Token", *_SHOWN)),
            404,
            responses=unchanged("ETag", "X-Write-Token", *_SHOWN),
        ),
    )
    async def described(
        order_id: OrderId,
        min_version: Minimum = 0,
        wait_ms: Wait = 0,
        x_write_token: Token = None,
        if_none_match: IfNoneMatch = None,
    ) -> None:
        """Never called."""


def answered(reads: Reads, what: Asked, found: Found) -> Response:
    """The order as it was found, or that the client has it already."""
    age = (datetime.now(UTC) - found.as_of).total_seconds() if found.source == "cache" else 0.0
    headers = {
        "Cache-Control": CACHE,
        "Age": str(max(int(age), 0)),
        "X-Write-Token": reads.signer.write_token(what.order_id, found.version),
    }
    if found.tag is not None:
        headers["ETag"] = str(found.tag)
        if what.none_match is not None and etags.unchanged(what.none_match, found.tag):
            return Response(status_code=304, headers=headers)
    return Response(found.body(reads.staleness_ms(found, age)), media_type="application/json", headers=headers)


def _number(name: str, text: str | None, most: int) -> int:
    if text is None:
        return 0
    if not _NUMBER.fullmatch(text) or int(text) > most:
        raise _wrong(f"query.{name}", f"a whole number from 0 to {most:,}")
    return int(text)


def _wrong(where: str, why: str) -> Problem:
    return Problem(422, "invalid", f"{where}: {why}")
