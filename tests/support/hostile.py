"""Requests that nobody means well with, each with a word in it that is to be found nowhere else afterwards."""

from __future__ import annotations

from collections.abc import Iterator

CANARY = b"C4NARY"

IDS = [
    b"%27%3B%20DROP%20TABLE%20write_model.orders%3B%20--C4NARY",
    b"C4NARY%27%20OR%20%271%27=%271",
    b"C4NARY%00",
    b"C4NARY%ff",
    b"C4NARY%",
    b"C4NARY%zz",
    b"C4NARY%0d%0aSet-Cookie:%20x=1",
    b"..%2f..%2fetc%2fpasswd%2fC4NARY",
    b"%2e%2e",
    b"{uuid}C4NARY",
    b"%7B%7B7*7%7D%7DC4NARY",
    b"%24%28C4NARY%29",
    b"%E2%80%AEC4NARY%F0%9F%92%A3",
    b"C4NARY" + b"x" * 10_000,
    b"C4NARY" + b"%2F" * 195,
    b"*",
    b"%25s%25n%25dC4NARY",
    b"%3Cscript%3EC4NARY",
    b"C4NARY%5C",
]
# What has to be refused, and what may be answered with 200 and nothing in it.
QUERIES = [
    b"/orders?limit=-1", b"/orders?limit=0", b"/orders?limit=C4NARY", b"/orders?limit=1e3",
    b"/orders?limit=" + b"9" * 400,
    b"/orders?cursor=C4NARY", b"/orders?cursor=" + b"A" * 5000, b"/orders?cursor=%00", b"/orders?cursor=%C3%A9",
    b"/orders?customer_id=C4NARY%00", b"/orders?status=" + b"C4NARY" * 60, b"/fulfilment-queue?cursor=C4NARY",
    b"/products/p/sales?from=C4NARY", b"/products/p/sales?from=2026-13-45", b"/products/p/sales?to=infinity",
    b"/products/p/sales?to=0",
    b"/products/p/sales?from=20261123",
    b"/orders/x?min_version=-1", b"/orders/x?min_version=99999999999999999999", b"/orders/x?min_version=C4NARY",
    b"/orders/x?wait_ms=-1", b"/orders/x?wait_ms=600000", b"/orders/x/timeline?limit=501", b"/C4NARY", b"//orders",
    b"/orders/", b"/orders/x/confirm/", b"/orders?" + b"C4NARY=1&" * 1200,
]  # fmt: skip
ALSO = [
    b"/orders?customer_id=C4NARY%27%3B--", b"/orders?status=C4NARY%22", b"/orders?status=C4NARY%E2%80%AE",
    b"/products/C4NARY%27%3B--/sales", b"/products/..%2f..%2fC4NARY/sales",
]  # fmt: skip

BODIES = [
    b"", b"{", b"[]", b"null", b"1", b'"C4NARY"', b"\xff\xfeC4NARY", b"[" * 100_000, b'{"a":' * 50_000,
    b'{"customer": {"id": "C4NARY\\u0000", "name": "n"}, "currency": "EUR", "lines": []}',
    b'{"customer": {"id": "C4NARY", "name": "\\ud800"}, "currency": "EUR",'
    b' "lines": [{"sku": "s", "quantity": 1, "unit_price": "1"}]}',
    b'{"customer": {"$ne": "C4NARY"}, "currency": "EUR", "lines": [{"sku": "s", "quantity": 1, "unit_price": "1"}]}',
    b'{"customer": {"id": "C4NARY", "name": "n"}, "currency": "EUR",'
    b' "lines": [{"sku": "s", "quantity": 1, "unit_price": 1e999}]}',
    b'{"customer": {"id": "C4NARY", "name": "n"}, "currency": "EUR",'
    b' "lines": [{"sku": "s", "quantity": 1, "unit_price": NaN}]}',
    b'{"customer": {"id": "C4NARY", "name": "n"}, "currency": "EUR",'
    b' "lines": [{"sku": "s", "quantity": ' + b"9" * 5000 + b', "unit_price": "1"}]}',
    b"<?xml version='1.0'?><!DOCTYPE C4NARY [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>",
]  # fmt: skip

HEADERS = [
    b"X-Write-Token: C4NARY", b"X-Write-Token: " + b"A" * 3000, b"X-Write-Token: \xff\xfeC4NARY",
    b"Authorization: Bearer C4NARY", b"Authorization: Basic C4NARY", b"Authorization: ", b"Authorization: Bearer",
]  # fmt: skip

# No requests at all, and such as two servers in a row might read in two ways.
WIRE = [
    b"\x00\xff\xfeC4NARY\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03C4NARY\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /C4NARY HTTP/9.9\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /C4NARY\r\n\r\n",
    b"GET  /C4NARY HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /C4NARY HTTP/1.1\r\n\r\n",
    b"GET /C4NARY HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /C4NARY HTTP/1.1\r\nHost: x\r\nC4NARY\r\n\r\n",
    b"GET /C4NARY HTTP/1.1\r\nHost: x\r\nBad Name: C4NARY\r\n\r\n",
    b"GET /C4NARY HTTP/1.1\r\nHost: x\r\nA: C4NARY\x00\r\n\r\n",
    b"GET /C4NARY HTTP/1.1\r\nHost: x\r\nConnection: close\r\nA: " + b"C4NARY" * 20_000 + b"\r\n\r\n",
    b"GET /C4NARY HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + b"A: C4NARY\r\n" * 10_000 + b"\r\n",
    b"GET /" + b"C4NARY" * 20_000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"CONNECT C4NARY:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET http://C4NARY/orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\nC4NARY",
    b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: C4NARY\r\n\r\nC4NARY",
    b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nC4NARY",
    b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    b"6\r\nC4NARY\r\n0\r\n\r\n",
    b"POST /orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nC4NARY",
    b"POST /orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nC4NARY\r\n0\r\n\r\n",
    b"POST /orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nC4NARY\r\n0\r\n\r\n",
    b"POST /orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 10_000 + b"\r\nC4NARY",
    b"POST /orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nC4NARY",
]


def request(
    method: bytes, target: bytes, *headers: bytes, body: bytes | None = None, token: bytes | None = None
) -> bytes:
    """One request, after which the connection ends."""
    lines = [b"%s %s HTTP/1.1" % (method, target), b"Host: x", b"Connection: close", *headers]
    if token is not None:
        lines.append(b"Authorization: Bearer " + token)
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body or b""])


def to_be_refused(order: bytes, token: bytes) -> Iterator[bytes]:
    """Whole requests, each of which somebody who may ask has no right answer to. `order` is the id of one that is
    there."""
    for one in IDS:
        for target in (b"/orders/%s", b"/orders/%s/timeline", b"/customers/%s"):
            yield request(b"GET", target % one, token=token)
        yield request(b"POST", b"/orders/%s/confirm" % one, body=b"", token=token)
        yield request(b"POST", b"/orders/%s/%s" % (order, one), body=b"{}", token=token)
        yield request(b"DELETE", b"/orders/%s/lines/%s" % (order, one), token=token)
    for target in QUERIES:
        yield request(b"GET", target, token=token)
    for body in BODIES:
        yield request(b"POST", b"/orders", body=body, token=token)
        yield request(b"POST", b"/orders/%s/pay" % order, body=body, token=token)
        if body:
            yield request(b"POST", b"/orders/%s/confirm" % order, body=body[:1000] + b"]", token=token)
    for header in HEADERS:
        own = None if header.startswith(b"Authorization") else token
        yield request(b"GET", b"/orders/%s" % order, header, token=own)
    for method in (b"PUT", b"PATCH", b"TRACE", b"C4NARY", b"get"):
        yield request(method, b"/orders/%s" % order, token=token)
    yield request(b"POST", b"/orders", b"Content-Length: 99999999", token=token)
    yield request(b"POST", b"/orders", b"Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n", token=token)
    yield request(b"GET", b"/orders", b"A: " + b"C4NARY" * 10_000, token=token)
    yield request(b"POST", b"/orders", b"Idempotency-Key: " + b"k" * 201, body=b"{}", token=token)
