"""A proxy that speaks PostgreSQL, as far as needed to lose a COMMIT: on its way there, or the reply to it.

A message is a type (1 byte), a length (4 bytes, itself included) and a body. Those before the session begins
(SSLRequest, StartupMessage) have no type.
"""

from __future__ import annotations

import struct
from typing import Literal

from tests.support.saboteurs.line import Filter, Severed
from tests.support.saboteurs.proxy import Proxy

_COMMIT = b"COMMIT;\x00"
_UNTYPED = (80877103, 80877104)  # SSLRequest, GSSENCRequest: another message without a type follows

Lost = Literal["request", "reply"]


class PostgresProxy(Proxy):
    """Stands before one server. `lose` makes the outcome of COMMITs unknown to who sent them."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream, lambda: _Conversation(self))
        self._lost: Lost = "reply"
        self._left = 0

    def lose(self, what: Lost, times: int = 1) -> None:
        """Of the next COMMITs: break the connection off before the server has it, or before the client hears of it."""
        self._lost, self._left = what, times

    def committing(self) -> Lost | None:
        """A COMMIT comes by: what of it is to be lost."""
        self.counts["commits"] += 1
        if not self._left:
            return None
        self._left -= 1
        return self._lost


class _Conversation(Filter):
    def __init__(self, proxy: PostgresProxy) -> None:
        self._proxy = proxy
        self._said = b""
        self._begun = False
        self._keeps_reply = False

    def to_server(self, data: bytes) -> bytes:
        self._said += data
        for kind, body in self._messages():
            if kind == b"Q" and body == _COMMIT:
                self._commit()
        return data

    def to_client(self, data: bytes) -> bytes:
        if not self._keeps_reply:
            return data
        self._proxy.counts["reply lost" if b"COMMIT\x00" in data else "failure lost"] += 1
        raise Severed(abruptly=True)

    def _commit(self) -> None:
        lost = self._proxy.committing()
        if lost == "request":
            self._proxy.counts["request lost"] += 1
            raise Severed(abruptly=True)
        self._keeps_reply = lost == "reply"

    def _messages(self) -> list[tuple[bytes, bytes]]:
        found = []
        while message := self._message():
            found.append(message)
        return found

    def _message(self) -> tuple[bytes, bytes] | None:
        """The first whole message of what was said, taken off it."""
        typed = int(self._begun)
        if len(self._said) < typed + 4:
            return None
        end = typed + int(struct.unpack_from(">i", self._said, typed)[0])
        if end > len(self._said):
            return None
        kind, body = self._said[:typed], self._said[typed + 4 : end]
        self._said = self._said[end:]
        self._begun = self._begun or struct.unpack_from(">i", body)[0] not in _UNTYPED
        return kind, body
