"""Who may ask: who shows a client certificate that the server trusts (TLS), or a bearer token (RFC 6750), compared in
constant time; where both are set, who has both.

A pure ASGI wrapper, so that a request is turned away before anything of it is read.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from api.limits import Limited, Places, check
from api.paths import BadPath, routed
from api.problems import Problem
from runtime.http_connection import CERTIFICATE

_App = Callable[[Any, Any, Any], Awaitable[None]]
# Who asks for a path that has a way in of its own, or how that is refused; None: it has none.
Door = Callable[[Mapping[str, Any], Mapping[bytes, bytes]], str | Problem | None]

_OPEN = frozenset({"/health/live", "/health/ready"})
_SHOWN = 16  # hexadecimal digits of a digest, by which a client is told from others


class Gate:
    """Lets requests through that have one of the tokens (None: any) and, `certified`, come with a certificate, aren't
    too large, and aren't too many.

    `door` is asked about requests without a token: the console's, from browsers.
    """

    def __init__(
        self,
        app: _App,
        tokens: Collection[str] | None,
        door: Door = lambda scope, headers: None,
        *,
        certified: bool = False,
    ) -> None:
        self._app = app
        self._digests = None if tokens is None else [digest_of(token.encode()) for token in tokens]
        self._door = door
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
        except Exception:  # noqa: S110  logged elsewhere
            # It is answered with 500, and logged by its name (api.problems): the server would log its text, where
            # somebody's data may be.
            pass

    def _check(self, scope: Any) -> None:
        headers = dict(scope["headers"])
        client = self._client(scope, headers)
        if isinstance(client, Problem):
            raise client
        scope["projector.client"] = client
        check(scope, headers)

    def _client(self, scope: Any, headers: dict[bytes, bytes]) -> str | Problem:
        """Who asks, as parts of digests: whose idempotency keys they are."""
        nobody = Problem(401, "unauthorized", "a bearer token is needed", {"WWW-Authenticate": "Bearer"})
        found = []
        if self._certified:
            certificate = scope.get("state", {}).get(CERTIFICATE)
            if certificate is None:
                return nobody
            found.append(certificate[:_SHOWN])
        if self._digests is not None:
            client = self._bearer(headers.get(b"authorization", b"")) or self._door(scope, headers) or nobody
            if isinstance(client, Problem):
                return client
            found.append(client)
        return "+".join(found)

    def _bearer(self, header: bytes) -> str | None:
        """Who asks, by a bearer token. None: nobody whom we know."""
        scheme, _, token = header.partition(b" ")
        client = client_of(token.strip(), self._digests or ())
        return client if scheme.lower() == b"bearer" else None


def client_of(token: bytes, digests: Collection[bytes]) -> str | None:
    """Whose token it is, as a part of its digest: whose idempotency keys they are. None: nobody's whom we know."""
    digest = digest_of(token)
    # All of them are compared, whichever fits: how long it takes says nothing.
    return name_of(digest) if sum(hmac.compare_digest(digest, one) for one in digests) else None


def name_of(digest: bytes) -> str:
    """What a client is called: a part of its token's digest."""
    return digest.hex()[:_SHOWN]


def digest_of(token: bytes) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token).digest()
