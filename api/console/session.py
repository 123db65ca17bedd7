"""Who may look: a browser can't send a bearer token by itself, so a token is changed for a signed cookie once.

The cookie names the client, by its token's digest, and when it ends. It opens the console's paths alone, so a page
elsewhere can't make a browser that is signed in send commands; and a token that is taken from the service's settings
takes its sessions with it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.responses import RedirectResponse, Response

from api.problems import Problem
from api.security import client_of, digest_of, name_of
from api.tokens import InvalidToken, Signer

SIGN_IN = "/console/sign-in"
NAME = "projector-console"
LIFE = 8 * 3600  # seconds

_OPEN = (SIGN_IN, "/console/static/")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_LOCAL = re.compile(r"/(console/[\w./?=&%+-]*)?")


class _SignInFirst(Problem):
    """Nobody whom we know: a browser is led to where a token can be given."""

    def __init__(self, target: str, *, script: bool) -> None:
        super().__init__(401, "unauthorized", "sign in first")
        self._place = f"{SIGN_IN}?next={quote(target)}"
        self._script = script

    def response(self) -> Response:
        if self._script:  # a fragment of a page can't be a whole one
            return Response(status_code=401, headers={"HX-Redirect": SIGN_IN, "Cache-Control": "no-store"})
        return RedirectResponse(self._place, 303, {"Cache-Control": "no-store"})


class Sessions:
    """Opens sessions and knows them again. `tokens` None: anybody may look, and nobody signs in."""

    def __init__(self, signer: Signer, tokens: Sequence[str] | None, clock: Callable[[], float] = time.time) -> None:
        self._signer = signer
        self._digests = None if tokens is None else [digest_of(token.encode()) for token in tokens]
        self._clock = clock

    @property
    def needed(self) -> bool:
        """Whether one has to sign in."""
        return self._digests is not None

    def admit(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> str | Problem | None:
        """Who asks for a page of the console, or how that is refused; None: it is no page of the console."""
        path = scope["path"]
        if path != "/" and not path.startswith("/console/"):
            return None
        if path.startswith(_OPEN):
            return "nobody"
        client = self.client(headers.get(b"cookie", b""))
        if client is not None:
            return client
        query = scope["query_string"].decode("latin-1")
        target = (f"{path}?{query}" if query else path) if scope["method"] == "GET" else "/"
        return _SignInFirst(target, script=b"hx-request" in headers)

    def client(self, cookies: bytes) -> str | None:
        """Whose session is among these cookies; None: nobody's, or it has ended."""
        value = _cookie(cookies)
        if value is None:
            return None
        try:
            client, until = self._signer.read_session(value)
        except InvalidToken:
            return None
        known = any(name_of(one) == client for one in self._digests or ())
        return client if known and self._clock() < until else None

    def open(self, token: str, response: Response, *, secure: bool) -> bool:
        """Have the response begin a session; whether the token is one of ours."""
        client = client_of(token.encode(), self._digests or ())
        if client is None:
            return False
        value = self._signer.session(client, int(self._clock()) + LIFE)
        response.set_cookie(NAME, value, LIFE, path="/", secure=secure, httponly=True, samesite="strict")
        return True

    def close(self, response: Response, *, secure: bool) -> None:
        """Have the browser forget its session."""
        response.delete_cookie(NAME, path="/", secure=secure, httponly=True, samesite="strict")


def is_secure(scheme: str, host: str) -> bool:
    """Whether a cookie has to be kept from plaintext: everywhere but on this machine, where there is no TLS.

    Behind a proxy that ends TLS the scheme may look like plaintext; that is no reason to let the cookie out.
    """
    return scheme == "https" or urlsplit(f"//{host}").hostname not in _LOOPBACK


def same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a page of ours has sent this: what changes something is refused from anywhere else.

    By `Sec-Fetch-Site`, which no script can set; of browsers that don't send it by `Origin`. What says neither is no
    browser, and has no business here.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == headers.get("host")


def local(target: str) -> str:
    """Where to go after signing in: one of the console's own pages, whatever is asked for."""
    return target if _LOCAL.fullmatch(target) else "/"


def _cookie(header: bytes) -> str | None:
    try:
        found = SimpleCookie(header.decode("latin-1")).get(NAME)
    except CookieError:
        return None
    return None if found is None else found.value
