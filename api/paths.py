r"""Ids in paths: any text that is an id, a slash too, is one segment of a path, and reaches no other route.

A server decodes a path before it is routed, and then `/orders/a%2Fconfirm` can't be told from `/orders/a/confirm`. So
the route is found by a path in which two escapes are left: `%2F`, and `%25`, which makes the first one unambiguous.
They are decoded when an id is taken out of it.
"""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import quote

from fastapi import Path
from pydantic import BeforeValidator

from schemas.events import MAX_KEY

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")
_KEPT = frozenset({b"2f", b"2F", b"25"})
_LEFT = re.compile("%(2[Ff]|25)")
# Clients take these two segments out of a path, also as `%2E`, before they ask (RFC 3986, 5.2.4).
_DOTS = {".": "%2E", "..": "%2E%2E"}


class BadPath(Exception):
    """An escape that is none, or bytes that are no UTF-8."""


def routed(raw: bytes) -> str:
    """The path that a route is found by. Raises BadPath."""
    try:
        return _ESCAPE.sub(_decoded, raw).decode()
    except UnicodeDecodeError:
        raise BadPath from None


def quoted(text: str) -> str:
    """An id as a segment of a path."""
    return _DOTS.get(text) or quote(text, safe="")


def unquoted(segment: str) -> str:
    """The id in a segment of a path that `routed` has made."""
    return _LEFT.sub(lambda found: "%" if found[1] == "25" else "/", segment)


def _decoded(escape: re.Match[bytes]) -> bytes:
    if escape[1] is None:
        raise BadPath
    return escape[0] if escape[1] in _KEPT else bytes.fromhex(escape[1].decode())


def _id(description: str) -> object:
    return Path(description=description, min_length=1, max_length=MAX_KEY, pattern=r"^[^\u0000]*$")


OrderId = Annotated[str, _id("The order's id. A slash in it is written `%2F`."), BeforeValidator(unquoted)]
CustomerId = Annotated[str, _id("The customer's id. A slash in it is written `%2F`."), BeforeValidator(unquoted)]
Sku = Annotated[str, _id("The product's sku. A slash in it is written `%2F`."), BeforeValidator(unquoted)]
