"""Mutants of the HTTP service: ids in paths, who is let in, limits, deadlines, what the document says."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

_DOCUMENT = "tests/unit/test_api_document.py"
_GATE = "tests/unit/test_api_gate.py"
_HOSTILE = "tests/acceptance/test_api_hostile.py"
_HTTP = "tests/integration/test_api_http.py"
_OVERLOAD = "tests/acceptance/test_api_overload.py"
_PATHS = "tests/unit/test_api_paths.py"
_TLS = "tests/acceptance/test_api_tls.py"

HTTP = (
    Mutant(
        "a slash in an id divides the path",
        "api/paths.py",
        '_KEPT = frozenset({b"2f", b"2F", b"25"})',
        '_KEPT = frozenset({b"25"})',
        (_PATHS,),
    ),
    Mutant(
        "an escaped per cent sign is decoded before the path is routed",
        "api/paths.py",
        '_KEPT = frozenset({b"2f", b"2F", b"25"})',
        '_KEPT = frozenset({b"2f", b"2F"})',
        (_PATHS,),
    ),
    Mutant(
        "a certificate makes a token needless",
        "api/security.py",
        "        if self._digests is not None:\n            client",
        "        if self._digests is not None and not self._certified:\n            client",
        (_GATE,),
    ),
    Mutant(
        "all clients with a certificate are one",
        "api/security.py",
        '"+".join(found)',
        "found[-1] if self._digests else ''",
        (_GATE,),
    ),
    Mutant(
        "a client without a certificate is let in",
        "runtime/tls.py",
        "        context.verify_mode = ssl.CERT_REQUIRED\n",
        "        context.verify_mode = ssl.CERT_OPTIONAL\n",
        (_TLS,),
    ),
    Mutant(
        "it serves everybody in the clear",
        "cli/api.py",
        "    if not (host and is_loopback(host)) and",
        "    if not is_loopback(host) and",
        (_TLS,),
    ),
    Mutant(
        "a TLS handshake may take a minute",
        "runtime/http.py",
        '{"ssl_handshake_timeout": _HANDSHAKE}',
        "{}",
        (_TLS,),
    ),
    Mutant(
        "those who follow a stream take the places of ordinary requests",
        "api/limits.py",
        '.endswith("/stream")',
        '.endswith("/streams")',
        (_GATE,),
    ),
    Mutant(
        "a place is not given back",
        "api/limits.py",
        "            self._free[kind] += 1\n",
        "            self._free[kind] += 0\n",
        (_GATE,),
    ),
    Mutant(
        "the server is told what the app failed with",
        "api/security.py",
        "        except Exception:  # noqa: S110  logged elsewhere\n",
        "        except KeyError:\n",
        (_GATE,),
    ),
    Mutant(
        "a head may take for ever",
        "runtime/http_connection.py",
        "        elif self.conn.their_state is h11.IDLE:\n            self._await(_HEAD)\n",
        "        elif self.conn.their_state is h11.IDLE:\n            self._await(0)\n",
        (_HOSTILE,),
    ),
    Mutant(
        "a byte more gives a request more time",
        "runtime/http_connection.py",
        "        if seconds == self._awaited:\n            return\n",
        "",
        (_HOSTILE,),
    ),
    Mutant(
        "a body that nobody reads may take for ever",
        "runtime/http_connection.py",
        "self._await(_BODY if self.conn.their_state is h11.SEND_BODY else 0)",
        "self._await(0)",
        (_HOSTILE,),
    ),
    Mutant(
        "each request that PostgreSQL is too busy for is a line of the log",
        "api/problems.py",
        "        if time.monotonic() - self._said_at >= _QUIET:\n",
        "        if time.monotonic() - self._said_at >= 0:\n",
        (_OVERLOAD,),
    ),
    Mutant(
        "a trace that can't be read goes on",
        "api/order_commands.py",
        "return traceparent if traceparent is not None and _TRACEPARENT.fullmatch(traceparent) else None",
        "return traceparent",
        (_HTTP,),
    ),
    Mutant(
        "Allow names the methods of one route",
        "api/problems.py",
        "                found |= route.methods\n",
        "                found = {*route.methods}\n",
        (_HTTP,),
    ),
    Mutant(
        "the document says that a header may be null",
        "api/openapi.py",
        '            if choice != {"type": "null"}:\n',
        "            if choice:\n",
        (_DOCUMENT,),
    ),
)
