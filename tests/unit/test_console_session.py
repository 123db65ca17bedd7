"""Who may look at the console: a token is changed for a cookie, and only our own pages change anything."""

from __future__ import annotations

import re
from typing import Any

import pytest
from starlette.responses import Response

from api.console.session import LIFE, NAME, Sessions, is_secure, local, same_origin
from api.problems import Problem
from api.tokens import InvalidToken, Signer

TOKEN = "a-token-of-some-length"


class Clock:
    """Seconds that a test moves."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def cookie(sessions: Sessions, token: str = TOKEN, *, secure: bool = True) -> str | None:
    """What a browser is told to keep."""
    response = Response()
    return response.headers["set-cookie"] if sessions.open(token, response, secure=secure) else None


def asks(sessions: Sessions, path: str, cookies: str = "", method: str = "GET", **headers: str) -> Any:
    scope = {"path": path, "query_string": b"a=b", "method": method}
    sent = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return sessions.admit(scope, {b"cookie": cookies.encode(), **sent})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(Signer(b"k" * 32), [TOKEN, "another-token-of-some-length"], clock)


def test_a_token_opens_a_session_for_eight_hours(sessions: Sessions, clock: Clock) -> None:
    kept = cookie(sessions)
    assert kept is not None
    assert re.fullmatch(rf"{NAME}=[\w-]+; HttpOnly; Max-Age={LIFE}; Path=/; SameSite=strict; Secure", kept), kept
    mine = kept.partition(";")[0]
    assert re.fullmatch("[0-9a-f]{16}", asks(sessions, "/", f"other=1; {mine}; x=y"))
    clock.now += LIFE - 1
    assert isinstance(asks(sessions, "/", mine), str)
    clock.now += 1
    assert isinstance(asks(sessions, "/", mine), Problem)


def test_on_this_machine_the_cookie_needs_no_tls(sessions: Sessions) -> None:
    kept = cookie(sessions, secure=False)
    assert kept is not None
    assert "Secure" not in kept


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", "\udcff".encode("utf-8", "replace").decode()])
def test_what_is_no_token_opens_nothing(sessions: Sessions, token: str) -> None:
    assert cookie(sessions, token) is None


def test_a_session_ends_with_its_token(clock: Clock) -> None:
    kept = str(cookie(Sessions(Signer(b"k" * 32), [TOKEN], clock))).partition(";")[0]
    for other in (Sessions(Signer(b"k" * 32), ["other" * 5], clock), Sessions(Signer(b"x" * 32), [TOKEN], clock)):
        assert isinstance(asks(other, "/", kept), Problem)


def test_a_write_token_is_no_session(sessions: Sessions) -> None:
    signer = Signer(b"k" * 32)
    for text in (signer.write_token("o-1", 2**40), signer.cursor("o", [1])):
        assert isinstance(asks(sessions, "/", f"{NAME}={text}"), Problem)
        with pytest.raises(InvalidToken):
            signer.read_session(text)
    with pytest.raises(InvalidToken):
        signer.read_write_token(signer.session("c", 1))


@pytest.mark.parametrize("path", ["/orders", "/orders/x", "/freshness", "/metrics", "/console", "/consoles/x", "//"])
def test_a_session_opens_the_console_alone(sessions: Sessions, path: str) -> None:
    assert asks(sessions, path, str(cookie(sessions)).partition(";")[0]) is None


@pytest.mark.parametrize("path", ["/console/sign-in", "/console/static/x/console.css"])
def test_styles_and_the_way_in_are_open(sessions: Sessions, path: str) -> None:
    assert asks(sessions, path) == "nobody"


@pytest.mark.parametrize("cookies", ["", f"{NAME}=", f"{NAME}=x", f"{NAME}=é", "=;;=", f"{NAME}={'A' * 3000}"])
def test_strangers_are_led_to_the_way_in(sessions: Sessions, cookies: str) -> None:
    found = asks(sessions, "/console/order", cookies).response()
    assert (found.status_code, found.headers["location"]) == (303, "/console/sign-in?next=/console/order%3Fa%3Db")
    posted = asks(sessions, "/console/letters/1/retry", cookies, "POST").response()
    assert posted.headers["location"] == "/console/sign-in?next=/"
    script = asks(sessions, "/", cookies, hx_request="true").response()
    assert (script.status_code, script.headers["hx-redirect"]) == (401, "/console/sign-in")


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "same-site", "origin": "https://a", "host": "a"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"origin": "https://a:8000", "host": "a:8000"}, True),
        ({"origin": "https://b:8000", "host": "a:8000"}, False),
        ({"origin": "null", "host": "a"}, False),
        ({"host": "a"}, False),
        ({}, False),
    ],
)
def test_only_our_own_pages_change_anything(headers: dict[str, str], own: bool) -> None:
    assert same_origin(headers) is own


@pytest.mark.parametrize(
    ("scheme", "host", "secure"),
    [
        ("http", "localhost:8000", False), ("http", "127.0.0.1", False), ("http", "[::1]:8000", False),
        ("http", "shop.example", True), ("https", "localhost", True), ("http", "localhost.example", True),
        ("http", "", True),
    ],
)  # fmt: skip
def test_where_a_cookie_is_kept_from_plaintext(scheme: str, host: str, secure: bool) -> None:
    assert is_secure(scheme, host) is secure


@pytest.mark.parametrize(
    ("target", "goes"),
    [
        ("/", "/"), ("/console/order?id=o-1", "/console/order?id=o-1"), ("//evil.example", "/"), ("/orders", "/"),
        ("https://evil.example/console/", "/"), ("/console/../\\evil", "/"), ("/console/\nx", "/"), ("", "/"),
    ],
)  # fmt: skip
def test_signing_in_leads_nowhere_else(target: str, goes: str) -> None:
    assert local(target) == goes
