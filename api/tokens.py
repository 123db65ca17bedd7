"""Signed tokens: what a client is given to bring back, and can't make or change.

A write token names an order and the version that a write has made of it; a cursor, where a page ended; a session, a
client and an end. A write token holds no position in Kafka and no time: "version 3 of this order is in" means that this
write and all before it are.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any, Literal, NamedTuple

import orjson

_DIGEST = 16  # bytes of HMAC-SHA256
_LONGEST = 2_000  # characters

_Kind = Literal["write", "cursor", "session"]


class WriteToken(NamedTuple):
    """This write, and all before it on the order."""

    order_id: str
    version: int


class Session(NamedTuple):
    """A browser in which somebody gave a client's token. `until` is in seconds since 1970."""

    client: str
    until: int


class InvalidToken(Exception):
    """It isn't ours, was changed, or is for something else."""


class Signer:
    """Makes and reads tokens with one secret. All processes of a service share it."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def write_token(self, order_id: str, version: int) -> str:
        """The token of a write."""
        return self._signed("write", [order_id, version])

    def read_write_token(self, text: str) -> WriteToken:
        """Raises InvalidToken."""
        order_id, version = self._read("write", text, 2)
        return WriteToken(str(order_id), int(version))

    def cursor(self, of: str, after: list[Any]) -> str:
        """Where a page of `of` (its name and filters) ended: the last row's key."""
        return self._signed("cursor", [of, after])

    def read_cursor(self, of: str, text: str) -> list[Any]:
        """The key after which the next page begins. Raises InvalidToken, also for another list's cursor."""
        named, after = self._read("cursor", text, 2)
        if named != of or not isinstance(after, list):
            raise InvalidToken
        return after

    def session(self, client: str, until: int) -> str:
        """What a browser is given for a token."""
        return self._signed("session", [client, until])

    def read_session(self, text: str) -> Session:
        """Whose it is and when it ends, which may be over. Raises InvalidToken."""
        client, until = self._read("session", text, 2)
        return Session(str(client), int(until))

    def _signed(self, kind: _Kind, content: list[Any]) -> str:
        body = orjson.dumps([kind, *content])
        return base64.urlsafe_b64encode(self._digest(body) + body).decode().rstrip("=")

    def _read(self, kind: _Kind, text: str, width: int) -> list[Any]:
        if len(text) > _LONGEST or not text.isascii():
            raise InvalidToken
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raise InvalidToken from None
        digest, body = raw[:_DIGEST], raw[_DIGEST:]
        if not hmac.compare_digest(digest, self._digest(body)):
            raise InvalidToken
        found = orjson.loads(body)
        if found[0] != kind or len(found) != width + 1:
            raise InvalidToken
        return list(found[1:])

    def _digest(self, body: bytes) -> bytes:
        return hmac.new(self._secret, body, hashlib.sha256).digest()[:_DIGEST]
