"""The poison corpus: what passed some JSON reader and then broke a database, or a program."""

from __future__ import annotations

import pytest

from schemas.events import Event, Unreadable
from schemas.wire import decode
from tests.support.events import ENCODINGS, Encoding, placed, record, refused, to_bytes
from tests.support.soundness import sound


def in_data(raw: bytes) -> bytes:
    """A valid order with one more member, of these very bytes."""
    return to_bytes(placed())[:-1] + b', "x": ' + raw + b"}"


POISON: dict[str, bytes] = {
    "NUL escaped": in_data(rb'"a\u0000b"'),
    "NUL in a name": in_data(rb'{"\u0000": 1}'),
    "NUL raw": in_data(b'"a\x00b"'),
    "control character raw": in_data(b'"a\x1fb"'),
    "lone high surrogate": in_data(rb'"\ud83d"'),
    "lone low surrogate": in_data(rb'"\udc00"'),
    "surrogates the wrong way round": in_data(rb'"\udc00\ud83d"'),
    "surrogate in UTF-8": in_data(b'"\xed\xa0\x80"'),
    "overlong UTF-8": in_data(b'"\xc0\x80"'),
    "not UTF-8": in_data(b'"\xff\xfe"'),
    "UTF-16": to_bytes(placed()).decode().encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + to_bytes(placed()),
    "NaN": in_data(b"NaN"),
    "Infinity": in_data(b"Infinity"),
    "minus Infinity": in_data(b"-Infinity"),
    "4301 digits": in_data(b"9" * 4301),
    "200000 digits": in_data(b"9" * 200_000),
    "exponent beyond numeric": in_data(b"1e131072"),
    "exponent below numeric": in_data(b"1e-16384"),
    "exponent with zeros before": in_data(b"1e+000131072"),
    "exponent beyond Decimal": in_data(b"1E9999999999999999999"),
    "exponent below Decimal": in_data(b"-1e-9999999999999999999"),
    "fraction beyond numeric": in_data(b"1." + b"1" * 16_384),
    "fraction and exponent beyond numeric together": in_data(b"1." + b"1" * 6_400 + b"e-9999"),
    "nested beyond the readers": in_data(b"[" * 201 + b"]" * 201),
    "nested 900 deep": in_data(b'{"a":' * 900 + b"1" + b"}" * 900),
    "nested beyond the stack": in_data(b"[" * 100_000 + b"]" * 100_000),
    "never closed": b"[" * 100_000,
    "trailing garbage": to_bytes(placed()) + b"}",
    "two values": to_bytes(placed()) * 2,
    "single quotes": b"{'customer': 1}",
    "comment": in_data(b"1 /* one */"),
    "trailing comma": in_data(b"[1,]"),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", POISON)
def test_poison_is_unreadable_in_every_encoding_and_under_every_type(encoding: Encoding, name: str) -> None:
    for type_ in ("order.placed", "order.confirmed", "order.gift_wrapped"):
        found = decode(record(encoding, POISON[name], type_))
        assert isinstance(found, Unreadable), name
        assert sound(found)
        assert 0 < len(found.why) < 200


ODD: dict[str, bytes] = {
    "escaped backslash before u0000": rb'"\\u0000"',
    "surrogate pair": rb'"\ud83d\ude00"',
    "noncharacter": '"\uffff\U0010ffff"'.encode(),
    "4300 digits": b"9" * 4_300,
    "exponent at the edge of numeric": b"1e131071",
    "fraction at the edge of numeric": b"1e-16383",
    "beyond a double": b"1e400",
    "smaller than a double": b"1e-400",
    "more digits than a double": b"0.1000000000000000055511151231257827",
    "minus zero": b"-0",
    "nested 198 deep": b"[" * 198 + b"]" * 198,
    "delete": b'"\x7f"',
    "NaN as a text": b'"NaN"',
    "looks like an exponent": b'"0e00000"',
    "same name twice": b'{"a": 1, "a": 2}',
    "long": b'"' + b"x" * 500_000 + b'"',
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", ODD)
def test_what_is_only_odd_is_read_and_kept_as_written(encoding: Encoding, name: str) -> None:
    for type_ in ("order.placed", "order.confirmed", "order.gift_wrapped"):
        found = decode(record(encoding, in_data(ODD[name]), type_))
        assert isinstance(found, Event), found
        assert found.data_text == in_data(ODD[name]).decode()


NO_QUANTITY = (b"0", b"-1", b"1.0", b"1.5", b'"1"', b"true", b"null", b"1e3", b"1" + b"0" * 4_000, b"[1]")
NO_MONEY = (
    *(b"-1", b'"-0.01"', b'"1e2"', b"1e14", b'"100000000000000"', b'"1.23456"', b"0.00001", b'""', b'"."', b'"1."'),
    *(b'".5"', b'"+1"', b'" 1"', '"٣"'.encode(), b'"1\\n"', b'"NaN"', b"true", b"null", b"{}", b"1e-400"),
)


@pytest.mark.parametrize(
    ("field", "raw"), [*(("quantity", raw) for raw in NO_QUANTITY), *(("unit_price", raw) for raw in NO_MONEY)]
)
def test_a_line_that_is_no_line_makes_the_event_unreadable_and_says_where(field: str, raw: bytes) -> None:
    data = to_bytes(placed({"sku": "a", "quantity": "QUANTITY", "unit_price": "UNIT_PRICE"}))
    data = (
        data.replace(f'"{field.upper()}"'.encode(), raw).replace(b'"QUANTITY"', b"1").replace(b'"UNIT_PRICE"', b'"1"')
    )
    for encoding in ENCODINGS:
        why = refused(record(encoding, data)).why
        assert why.startswith(f"data.lines.0.{field}: ")
        assert len(why) < 150


@pytest.mark.parametrize("filling", [b"1,", b"[],", b"1e99999,", rb'"\u00e9",'])
def test_a_record_full_of_anything_is_decided(filling: bytes) -> None:
    many = b"[" + filling * (60_000 // len(filling)) + b"0]"
    for encoding in ENCODINGS:
        assert isinstance(decode(record(encoding, many, "gift_wrapped")), Event)
