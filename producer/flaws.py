"""What can be wrong with a record: the corpus of the simulation's broken records.

Each flaw is (what is spoilt, what it becomes): an attribute by its name (None: left out), or a piece of a good event's
data. With nothing in its place it is a torn copy of an event that is still to come.
"""

from __future__ import annotations

from typing import Any

# fmt: off
GOOD = (b'{"customer":{"id":"c-0","name":"Eve"},"currency":"EUR",'
        b'"lines":[{"sku":"sku-1","quantity":1,"unit_price":"9"}]}')
FLAWS: list[tuple[str | bytes, Any]] = [
    ("id", None), (b"}]}", b""), ("id", ""), (GOOD, b"not JSON"), ("subject", None), ("type", None),
    (b"Eve", b"E\\u0000e"), ("source", None), (b'"9"', b'"-1.00"'), ("time", None), (b":1,", b":0,"),
    ("sequence", None), (b'"9"', b'"1.23456"'), ("time", "yesterday"), (b'"9"', b'"NaN"'),
    ("time", "2026-01-01T12:00:00"), (b"}]}", b""), (b'"9"', b'"100000000000000"'), ("sequence", 0),
    (b":1,", b":true,"), ("sequence", -1), (b":1,", b':"3",'), ("sequence", 1.5), (b"Eve", b"\\ud800"),
    ("sequence", 2**63), (b"[{", b'[],"x":[{'), ("id", "x" * 201), (b"Eve", b"\xff\xfe"), ("subject", ""),
    (GOOD, b"[1,2]"), ("subject", "y" * 201), (b'"9"', b"NaN"), (b"EUR", b"euro"), ("time", "2026-02-30T12:00:00Z"),
    (b'"9"', b"1e14"), ("sequence", True), (b":1,", b":1.5,"), (b'"name"', b'"nick"'), (b'"sku"', b'"ean"'),
    (GOOD, b"[" * 9999 + b"]" * 9999), (b"Eve", b"E" * 2**20),
]
# fmt: on
