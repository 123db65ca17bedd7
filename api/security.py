"""Who may ask: who shows a client certificate that the server trusts (TLS), or a bearer token (RFC 6750), compared in
constant time; where both are set, who has both.

A pure ASGI wrapper, so that a request is turned away before anything of it is read.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from api.limits import Limited, Places, too_large
from api.paths import BadPath, routed
from api.problems import Problem
from runtime.http_connection import CERTIFICATE

_App = Callable[[Any, Any, Any], Awaitable[None]]

_OPEN = frozenset({"/health/live", "/health/ready"})
_SHOWN = 16  # hexadecimal digits of a digest, by which a client is told from others


class Gate:
    """Lets requests through that have one of the tokens (None: any) and, `certified`, come with a certificate, aren't
    too large, and aren't too many."""

    def __init__(self, app: _App, tokens: Collection[str] | None, *, certified: bool = False) -> None:
        self._app = app
        self._digests = None if tokens is None else [_digest(token.encode()) for token in tokens]
        self._certified = certified
        self._places = Places()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            scope["path"] = routed(scope["raw_path"])
            if scope["path"] in _OPEN:
                await self._app(scope, receive, send)
                return
            self._check(scope)
            with self._places.one(scope):
                await self._app(scope, Limited(receive), send)
        except BadPath:
            await Problem(400, "invalid", "the path is not UTF-8 in percent-encoding").response()(scope, receive, send)
        except Problem as problem:  # of ours: those of the app are answered in it
            await problem.response()(scope, receive, send)
        except Exception:  # noqa: S110
            # It is answered with 500, and logged by its name (api.problems): the server would log its text, where
            # somebody's data may be.
            pass

    def _check(self, scope: Any) -> None:
        headers = dict(scope["headers"])
        client = self._client(scope, headers)
        if client is None:
            raise Problem(401, "unauthorized", "a bearer token is needed", {"WWW-Authenticate": "Bearer"})
        scope["projector.client"] = client
        problem = too_large(scope, headers)
        if problem is not None:
            raise problem

    def _client(self, scope: Any, headers: dict[bytes, bytes]) -> str | None:
        """Who asks, as parts of digests: whose idempotency keys they are. None: nobody whom we know."""
        found = []
        if self._certified:
            found.append(scope.get("state", {}).get(CERTIFICATE))
        if self._digests is not None:
            found.append(self._bearer(headers.get(b"authorization", b"")))
        return None if None in found else "+".join(one[:_SHOWN] for one in found)

    def _bearer(self, header: bytes) -> str | None:
        scheme, _, token = header.partition(b" ")
        digest = _digest(token.strip())
        # All of them are compared, whichever fits: how long it takes says nothing.
        fits = sum(hmac.compare_digest(digest, one) for one in self._digests or ())
        return digest.hex() if fits and scheme.lower() == b"bearer" else None


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
