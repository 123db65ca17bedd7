"""A client's connection: what it may take its time for, what it is told when its request is none, and who it is by TLS.

    a request's head    has to be there within 10 s of the connection's or the request's first byte: 408
    a request's body    within 12 s of its head, also one that nobody reads: the connection ends
    an answer           has to be taken: a client that reads nothing of it for 30 s is cut off
    too many at once    503 to each request of the connections above the limit, but for `/health/live`

The server itself (uvicorn's HTTP/1.1 on h11) has none of these, and answers what is no request in plain text.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import sys
from http import HTTPStatus
from typing import Any

import h11
import orjson
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

CERTIFICATE = "projector.certificate"  # in a scope's `state`: SHA-256 of the client's certificate, as hex
PROBLEMS = "urn:projector:problem:"
_PROBLEM = b"application/problem+json"
_ALWAYS = "/health/live"

_HEAD, _BODY = 10.0, 12.0  # seconds
_STALLED = 30.0  # seconds


def problem(status: int, kind: str, detail: str, **more: Any) -> bytes:
    """A problem document (RFC 9457). `kind` is for programs, `detail` for a person; `more` are its own members."""
    title = HTTPStatus(status).phrase
    return orjson.dumps({"type": PROBLEMS + kind, "title": title, "status": status, "detail": detail, **more})


class HttpConnection(H11Protocol):
    """uvicorn's protocol with the deadlines above. `limit_concurrency` counts connections."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._crowd, self.limit_concurrency = self.limit_concurrency, None
        self._awaited = 0.0  # how long what is awaited of the request may take; 0: nothing is
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        _give_up_on_the_silent(transport)
        secured = transport.get_extra_info("ssl_object")
        certificate = None if secured is None else secured.getpeercert(binary_form=True)
        if certificate is not None:
            self.app_state = {**self.app_state, CERTIFICATE: hashlib.sha256(certificate).hexdigest()}
        if self._crowd is not None and len(self.connections) > self._crowd:
            self.app = _crowded(self.app)
        self._await(_HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        self._await(0)
        self._goes_on()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.is_closing():
            self._await(0)
        elif self.conn.their_state is h11.IDLE:
            self._await(_HEAD)
        else:
            self._await(_BODY if self.conn.their_state is h11.SEND_BODY else 0)

    def send_400_response(self, msg: str) -> None:
        """What came is no request. Called where h11's error is handled."""
        status = getattr(sys.exception(), "error_status_hint", 400)
        self._refuse(status, "bad-request", "this is not HTTP, or its head is too large")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self._stalled or self.loop.call_later(_STALLED, self.transport.abort)

    def resume_writing(self) -> None:
        self._goes_on()
        super().resume_writing()

    def _goes_on(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _await(self, seconds: float) -> None:
        """What is awaited by now has this long; a byte more of the same thing gives it no more time."""
        if seconds == self._awaited:
            return
        self._awaited = seconds
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self._too_slow) if seconds else None

    def _too_slow(self) -> None:
        if self._awaited == _HEAD:
            self._refuse(408, "too-slow", "the request took too long to come")
        else:
            self.transport.abort()

    def _refuse(self, status: int, kind: str, detail: str) -> None:
        """Answer, if that is still possible, and end the connection."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # whatever the app says from now on would come after this
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = problem(status, kind, detail)
            headers = [
                (b"content-type", _PROBLEM),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
            reason = HTTPStatus(status).phrase.encode()
            for event in (h11.Response(status_code=status, headers=headers, reason=reason), h11.Data(data=body)):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def _give_up_on_the_silent(transport: asyncio.Transport) -> None:
    """A peer that takes nothing of what was sent to it is gone; Linux would keep the connection for a quarter of an
    hour, or for ever if it says that it has no room."""
    connected = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None and connected is not None and connected.family in (socket.AF_INET, socket.AF_INET6):
        connected.setsockopt(socket.IPPROTO_TCP, option, int(_STALLED * 1000))


def _crowded(app: Any) -> Any:
    """The app of a connection too many."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == _ALWAYS:
            await app(scope, receive, send)
            return
        body = problem(503, "overloaded", "too many connections at once")
        headers = [
            (b"content-type", _PROBLEM),
            (b"content-length", str(len(body)).encode()),
            (b"retry-after", b"1"),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer
