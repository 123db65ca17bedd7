"""Good and bad events: what decode takes and refuses, written by hand from the contract.

A case is a change to the type's sample: where, and the JSON text to put there (None: leave it out). The text is
raw, so that numbers stand as a producer would write them.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from schemas.event_samples import sample_event

Case = tuple[str, str | None]


def changed(event_type: str, path: str, raw: str | None) -> bytes:
    """The type's sample as a structured event, with raw JSON at one dotted path."""
    event = sample_event(event_type)
    return with_change(event, path, None if raw is None else orjson.Fragment(raw))


def with_change(event: dict[str, Any], path: str, instead: Any) -> bytes:
    """A copy of the event as JSON, with another value at one dotted path; None: without it."""
    copy = _copy(event)
    *parents, last = path.split(".")
    here: Any = copy
    for name in parents:
        here = here[int(name) if isinstance(here, list) else name]
    key: Any = int(last) if isinstance(here, list) else last
    if instead is None:
        del here[key]
    else:
        here[key] = instead
    return orjson.dumps(copy)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(item) for name, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _text(length: int, of: str = "x") -> str:
    return json.dumps(of * length, ensure_ascii=False)


MAX = 2**63 - 1

NOT_TEXT = ("null", "7", "true", "[]", "{}")

# Of every type.
GOOD_ATTRIBUTES: list[Case] = [
    ("id", _text(1)),
    ("id", _text(200)),
    ("id", _text(200, "😀")),
    ("id", '" \\n"'),
    ("subject", _text(200)),
    ("source", '"urn:till:7"'),
    ("source", _text(2_000)),
    ("time", '"2026-11-23T09:30:00.123456789+02:00"'),
    ("time", '"2026-11-23t09:30:00z"'),
    ("time", '"2026-11-23 09:30:00-00:00"'),
    ("time", '"2028-02-29T23:59:60Z"'),
    ("time", '"0001-01-01T00:00:00Z"'),
    ("time", '"9999-12-31T23:59:59Z"'),
    ("time", '"2026-11-23T09:30:00+23:59"'),
    ("sequence", "1"),
    ("sequence", str(MAX)),
    ("sequence", f'"{MAX}"'),
    ("sequence", '"1000000000000000000"'),
    ("sequence", '"0000000007"'),
    ("sequence", f'"{7:040}"'),
    ("schemaversion", "1"),
    ("schemaversion", "2"),
    ("schemaversion", '"1"'),
    ("schemaversion", '"02"'),
    ("schemaversion", "null"),
    ("traceparent", '"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"'),
    ("traceparent", "7"),
    ("dataschema", '"urn:anything"'),
    ("unknown", '{"deep": [1, null]}'),
    ("unknown", '"\\u0000"'),  # outside data, and dropped
]

BAD_ATTRIBUTES: list[Case] = [
    *((name, None) for name in ("id", "source", "subject", "time", "sequence", "specversion")),
    *((name, raw) for name in ("id", "source", "subject", "time", "type", "specversion") for raw in NOT_TEXT),
    *((name, '""') for name in ("id", "source", "subject", "time", "type", "specversion", "sequence", "schemaversion")),
    ("specversion", '"1"'),
    ("specversion", '"1.0\\n"'),
    ("id", _text(201)),
    ("id", '"a\\u0000"'),
    ("subject", _text(201)),
    ("subject", '"\\u0000"'),
    ("source", _text(2_001)),
    ("source", '"/shop orders"'),
    ("source", '"/shop\\u007f"'),
    ("source", '"/shop\\n"'),
    ("time", '"2026-11-23T09:30:00"'),
    ("time", '"2026-11-23"'),
    ("time", '"2026-11-23T09:30Z"'),
    ("time", '"2026-11-23T09:30:00Z\\n"'),
    ("time", '"2026-13-01T09:30:00Z"'),
    ("time", '"2026-00-01T09:30:00Z"'),
    ("time", '"2026-11-32T09:30:00Z"'),
    ("time", '"2026-11-00T09:30:00Z"'),
    ("time", '"2026-11-23T24:00:00Z"'),
    ("time", '"2026-11-23T09:60:00Z"'),
    ("time", '"2026-11-23T09:30:61Z"'),
    ("time", '"2026-11-23T09:30:00,5Z"'),
    ("time", '"2026-11-23T09:30:00.Z"'),
    ("time", '"2026-11-23T09:30:00+24:00"'),
    ("time", '"2026-11-23T09:30:00+05:60"'),
    ("time", '"2026-11-23T09:30:00+0500"'),
    ("time", '"٢026-11-23T09:30:00Z"'),
    ("sequence", "null"),
    ("sequence", "0"),
    ("sequence", "-1"),
    ("sequence", "1.5"),
    ("sequence", "true"),
    ("sequence", str(MAX + 1)),
    ("sequence", f'"{MAX + 1}"'),
    ("sequence", '"9300000000000000000"'),
    ("sequence", '"10000000000000000000"'),
    ("sequence", f'"{7:041}"'),
    ("sequence", '"0"'),
    ("sequence", '"+1"'),
    ("sequence", '"1\\n"'),
    ("sequence", '"١"'),
    ("schemaversion", "1.5"),
    ("schemaversion", "true"),
    ("schemaversion", '"v1"'),
    ("schemaversion", '"-1"'),
    ("schemaversion", "{}"),
]

GOOD_MONEY: tuple[str, ...] = (
    '"0"',
    '"12.50"',
    '"00012.5"',
    '"99999999999999.9999"',
    "0",
    "-0",
    "-0.0",
    "12.50",
    "1e2",
    "1.25E+1",
)
GOOD_MONEY += ("0.0001", "99999999999999", "99999999999999.98")
BAD_MONEY: tuple[str, ...] = (
    '""',
    '"-1"',
    '"+1"',
    '"1."',
    '".5"',
    '"1e2"',
    '"1,5"',
    '"12.50000"',
    '"100000000000000"',
    '"12.50\\n"',
)
BAD_MONEY += ('" 1"', '"١"', '"NaN"', "-1", "-0.0001", "1e14", "1e400", "100000000000000", "null", "true", "[]", "{}")

GOOD_QUANTITY = ("1", str(2**63), 4_000 * "9")
BAD_QUANTITY = ("0", "-1", "1.5", '"1"', "true", "null")
BAD_TEXT = (None, *NOT_TEXT, '"a\\u0000"')
BAD_KEY = (*BAD_TEXT, '""', _text(201))
BAD_OPTIONAL_TEXT = ("7", "true", "[]", "{}", '"a\\u0000"')
BAD_OBJECT = (None, "null", "7", '"x"', '"{}"', "[]", "{}")
BAD_ADDRESS = ("7", '"x"', "[]", '{"city": null}', '{"city": 7}', '{"city": "\\u0000"}', '{"\\u0000": "x"}')


def _at(path: str, *raws: str | None) -> list[Case]:
    return [(path, raw) for raw in raws]


def _good_line(path: str) -> list[Case]:
    return [
        *_at(f"{path}.unit_price", *GOOD_MONEY),
        *_at(f"{path}.quantity", *GOOD_QUANTITY),
        *_at(f"{path}.sku", _text(1), _text(200)),
        *_at(f"{path}.title", "null", '""', _text(5_000)),
        *_at(f"{path}.unknown", "1e5", "[null]"),
    ]


def _bad_line(path: str) -> list[Case]:
    return [
        *_at(f"{path}.unit_price", None, *BAD_MONEY),
        *_at(f"{path}.quantity", None, *BAD_QUANTITY),
        *_at(f"{path}.sku", *BAD_KEY),
        *_at(f"{path}.title", *BAD_OPTIONAL_TEXT),
    ]


_ADDRESSES = ('{"city": "", "": "x"}', "{}")

GOOD_DATA: dict[str, list[Case]] = {
    "order.placed": [
        *_good_line("data.lines.0"),
        *_at("data.customer.email", None, "null", '""'),
        *_at("data.customer.id", _text(200)),
        *_at("data.shipping_address", None, "null", *_ADDRESSES),
        *_at("data.currency", '"XXX"'),
        *_at("data.unknown", '{"deep": true}'),
    ],
    "order.line_added": _good_line("data.line"),
    "order.line_removed": _at("data.sku", _text(1), _text(200)),
    "order.address_changed": _at("data.shipping_address", *_ADDRESSES),
    "order.confirmed": _at("data", "null", "{}", "7", '"x"'),
    "order.payment_captured": [*_at("data.amount", *GOOD_MONEY), *_at("data.payment_id", '""', _text(5_000))],
    "order.payment_failed": _at("data.reason", '""', '"\\n"'),
    "order.shipped": _at("data.tracking_number", '""', _text(5_000)),
    "order.delivery_failed": _at("data.reason", '""'),
    "order.delivered": _at("data_base64", '"e30="', '"bnVsbA=="'),
    "order.cancelled": _at("data.reason", '""'),
    "order.refunded": _at("data.amount", *GOOD_MONEY),
}

BAD_DATA: dict[str, list[Case]] = {
    "order.placed": [
        *_at("data", *BAD_OBJECT),
        *_bad_line("data.lines.0"),
        *_at("data.lines", None, "null", "[]", "{}", "[null]", "[[]]"),
        *_at("data.customer", None, "null", "{}", '"c-1"'),
        *_at("data.customer.id", *BAD_KEY),
        *_at("data.customer.name", *BAD_TEXT),
        *_at("data.customer.email", *BAD_OPTIONAL_TEXT),
        *_at("data.currency", *BAD_TEXT, '"gbp"', '"GB"', '"GBPS"', '"GBP\\n"', '""'),
        *_at("data.shipping_address", *BAD_ADDRESS),
    ],
    "order.line_added": [*_at("data", *BAD_OBJECT), *_bad_line("data.line"), *_at("data.line", None, "null", "[]")],
    "order.line_removed": [*_at("data", *BAD_OBJECT), *_at("data.sku", *BAD_KEY)],
    "order.address_changed": [*_at("data", *BAD_OBJECT), *_at("data.shipping_address", None, "null", *BAD_ADDRESS)],
    "order.confirmed": _at("data_base64", "7", '"e30"', '"e3 0="', '"é"'),
    "order.payment_captured": [
        *_at("data", *BAD_OBJECT),
        *_at("data.amount", None, *BAD_MONEY),
        *_at("data.payment_id", *BAD_TEXT),
    ],
    "order.payment_failed": [*_at("data.payment_id", *BAD_TEXT), *_at("data.reason", *BAD_TEXT)],
    "order.shipped": [*_at("data.carrier", *BAD_TEXT), *_at("data.tracking_number", *BAD_TEXT)],
    "order.delivery_failed": [*_at("data", *BAD_OBJECT), *_at("data.reason", *BAD_TEXT)],
    "order.delivered": _at("data_base64", "7", "{}"),
    "order.cancelled": [*_at("data", *BAD_OBJECT), *_at("data.reason", *BAD_TEXT)],
    "order.refunded": [*_at("data.amount", None, *BAD_MONEY), *_at("data.reason", *BAD_TEXT)],
}

# What the schema takes and decode refuses: the rules that schemas.json_schema.LIMITS names as beyond JSON Schema.
BEYOND_JSON_SCHEMA: list[Case] = [
    ("sequence", "1.0"),
    ("schemaversion", "1.0"),
    ("data.lines.0.quantity", "2.0"),
    ("data.lines.0.unit_price", "1.50000"),
    ("data.lines.0.unit_price", "0.00001"),
    ("data.unknown", '"\\u0000"'),
    ("data.customer.name", '"\\ud83d"'),
    ("id", '"\\ud83d"'),
    ("data.lines.0.quantity", "1" + 4_000 * "0"),
    ("data.unknown", 300 * "[" + 300 * "]"),
    ("time", '"2026-02-30T09:30:00Z"'),
    ("time", '"0000-01-01T09:30:00Z"'),
    ("time", '"9999-12-31T23:59:60Z"'),
    ("source", _text(1_001, "é")),
    ("data.unknown", _text(1024 * 1024)),
]

# What decode takes and the schema doesn't promise: (event type, members of the event instead of the sample's).
NOT_PROMISED: list[tuple[str, dict[str, Any]]] = [
    ("order.shipped", {"schemaversion": 0}),
    ("order.shipped", {"schemaversion": "0"}),
    ("order.placed", {"schemaversion": 0, "data": {"customer_id": "c-1", "customer_name": "Ada", "currency": "EUR",
                                                   "items": [{"sku": "pen", "quantity": 1, "unit_price": "1"}]}}),
    ("order.line_removed", {"data": None, "data_base64": "eyJza3UiOiAiQ1VQLTEifQ=="}),
    ("order.confirmed", {"data_base64": None}),
]  # fmt: skip
