"""What requests have in their headers and queries: how each is checked, and what the OpenAPI document says of it."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated

from fastapi import Header, Query
from pydantic import BeforeValidator, Field

MOST_WAIT = 10_000  # milliseconds
MOST_ROWS = 500
_LONGEST_KEY = 200


def _day(text: str) -> str:
    """pydantic would take a number of seconds for a day too."""
    if not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError("not a day like 2026-11-23")
    return text


IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="The same key and request: the same answer, once done. Whose keys they are, the token says.",
        min_length=1,
        max_length=_LONGEST_KEY,
        pattern=r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$",
        examples=["5f0c8a52-6a43-4c2e-9f0f-0b6b9a1a6f3c"],
    ),
]
IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", description="The order's ETag: 412 if it is another version by now.", examples=['"1.1"']),
]
Traceparent = Annotated[
    str | None,
    Header(
        description="W3C trace context: goes on with the event.",
        examples=["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
    ),
]
Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="Rows of a page, at most.", examples=[50])]
Cursor = Annotated[
    str | None, Query(max_length=2_000, description="`next_cursor` of the page before; it fits this very list alone.")
]
Token = Annotated[
    str | None,
    Header(
        alias="X-Write-Token",
        max_length=2_000,
        description="Of a write, which the answer is not to be older than: if need be it comes from the write model.",
    ),
]
Minimum = Annotated[
    int, Query(ge=0, lt=2**63, description="The version that the order is to have: 503 where it hasn't.", examples=[2])
]
Wait = Annotated[int, Query(ge=0, le=MOST_WAIT, description="For how long to wait for `min_version`, in milliseconds.")]
IfNoneMatch = Annotated[
    str | None,
    Header(
        alias="If-None-Match", description="The ETag of what the client has: 304 if it is that.", examples=['"1.3"']
    ),
]
LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", pattern=r"^[0-9]{1,18}$", description="The version seen last: goes on behind it."),
]
Filter = Query(min_length=1, max_length=200, pattern=r"^[^\u0000]*$")
OfCustomer = Annotated[str | None, Filter, Field(description="Only this customer's.", examples=["c-17"])]
OfStatus = Annotated[str | None, Filter, Field(description="Only those of this status.", examples=["placed"])]
Since = Annotated[
    date | None,
    Query(alias="from", description="The first day, in UTC.", examples=["2026-11-01"]),
    BeforeValidator(_day),
]
Until = Annotated[
    date | None, Query(alias="to", description="The last day, in UTC.", examples=["2026-11-30"]), BeforeValidator(_day)
]
