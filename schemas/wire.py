"""Kafka records into events: the three encodings of CONTRACT 1, recognised record by record.

`decode` is total: whatever the bytes, it returns an event, a tombstone, or an Unreadable that says why.
Our own codec rather than the CloudEvents SDK: that one invents an id and a time where they are missing,
which would defeat deduplication and replay (docs/decisions/0002).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pydantic_core import from_json

from schemas import attributes, json_text, payload
from schemas.errors import UnreadableEvent
from schemas.events import Decoded, Event, Record, Tombstone, Unreadable
from schemas.identity import event_uuid

MAX_BYTES = 1024 * 1024  # of a record's value; checked before anything is parsed

Headers = Mapping[str, bytes | None]


def decode(record: Record) -> Decoded:
    """What a record is. Never raises."""
    headers: Headers = dict(record.headers)  # of a repeated header the last counts
    try:
        if record.value is None:
            return Tombstone(key_text(record.key), record)
        return _event(record, headers, record.value)
    except UnreadableEvent as error:
        return Unreadable(error.why, *_whatever_names_it(record, headers), record)


# The headers that `decode` looks at of a record in CloudEvents' binary mode.
OF_BINARY = (
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_subject",
    "ce_sequence",
    "ce_time",
    "ce_schemaversion",
)
SUBJECT = OF_BINARY.index("ce_subject") + 1

Slim = tuple[bytes | None, ...]
SLIM_WIDTH = 1 + len(OF_BINARY)


def slim(record: Record) -> Slim | None:
    """All that `decode` needs of a record in CloudEvents' binary mode: its value and a few headers, a third of its
    size. None of any other record."""
    headers: Headers = dict(record.headers)
    if record.value is None or "ce_specversion" not in headers or says_structured(headers):
        return None
    return (record.value, *map(headers.get, OF_BINARY))


def order_of_slim(slim: Slim) -> str | None:
    """The order that it is of; None if that can't be read, and so neither can the event."""
    return _or_none("subject", slim[SUBJECT])


def decode_slim(slim: Slim, record: Record) -> Decoded:
    """What `decode` makes of the record that it was taken of, but that an unreadable one's key is not looked at.
    `record` stands in the result for that one."""
    value, *found = slim
    assert value is not None
    headers: Headers = dict(zip(OF_BINARY, found, strict=True))
    try:
        _not_too_long(value)
        return _binary(record, headers, value)
    except UnreadableEvent as error:
        return Unreadable(error.why, _or_none("subject", slim[SUBJECT]), _or_none("id", headers["ce_id"]), record)


def key_text(key: bytes | None) -> str:
    """The order id in a record's key, bare or (as Debezium's JSON converter writes it) as a JSON string."""
    if key is not None and len(key) > 1 and key[:1] == key[-1:] == b'"':
        with suppress(ValueError):  # no JSON: then the quotes are the id's own
            return attributes.key("key", from_json(key))
    return attributes.key("key", key)


def _event(record: Record, headers: Headers, value: bytes) -> Event:
    _not_too_long(value)
    if says_structured(headers):
        return _structured(record, _json_object(value), value)
    if "ce_specversion" in headers:
        return _binary(record, headers, value)
    if b'"specversion"' in value:
        parsed = _with_odd_texts(value)
        if isinstance(parsed, dict) and "specversion" in parsed:
            return _structured(record, parsed, value)
    if "id" in headers and not any(name.startswith("ce_") for name in headers):
        return _debezium(record, headers, value)
    raise UnreadableEvent(
        "no event: neither CloudEvents (a content-type, ce_specversion or specversion) nor an outbox header id"
    )


def _not_too_long(value: bytes) -> None:
    if len(value) > MAX_BYTES:
        raise UnreadableEvent(f"{len(value)} bytes: an event has at most {MAX_BYTES}")


def says_structured(headers: Headers) -> bool:
    content_type = headers.get("content-type")
    return content_type is not None and content_type[:23].lower() == b"application/cloudevents"


def _binary(record: Record, headers: Headers, value: bytes) -> Event:
    get = headers.get
    if headers["ce_specversion"] != b"1.0":
        attributes.specversion(headers["ce_specversion"])
    kind = attributes.event_type(get("ce_type"))
    version = attributes.schemaversion(get("ce_schemaversion"))
    event_id = attributes.key("id", get("ce_id"))
    return Event(
        attributes.source(get("ce_source")),
        event_id,
        kind,
        attributes.key("subject", get("ce_subject")),
        attributes.sequence(get("ce_sequence")),
        attributes.time(get("ce_time")),
        *payload.read(kind, version, value),
        event_uuid(event_id),
        version,
        record,
    )


def _structured(record: Record, found: dict[str, Any], value: bytes) -> Event:
    get = found.get
    attributes.specversion(get("specversion"))
    kind = attributes.event_type(get("type"))
    version = attributes.schemaversion(get("schemaversion"))
    event_id = attributes.key("id", get("id"))
    if get("data_base64") is not None and get("data") is None:
        data = payload.read(kind, version, _from_base64(found["data_base64"]))
    else:
        text = json_text.member_text(value.decode(), "data") if "data" in found else None
        data = payload.read_parsed(kind, version, get("data"), text)
    return Event(
        attributes.source(get("source")),
        event_id,
        kind,
        attributes.key("subject", get("subject")),
        attributes.sequence(get("sequence")),
        attributes.time(get("time")),
        *data,
        event_uuid(event_id),
        version,
        record,
    )


def _debezium(record: Record, headers: Headers, value: bytes) -> Event:
    get = headers.get
    kind = attributes.event_type(get("eventType"))
    version = attributes.schemaversion(get("schemaversion"))
    event_id = attributes.key("id", get("id"))
    source = get("source")
    return Event(
        attributes.source(record.topic if source is None else source),
        event_id,
        kind,
        key_text(record.key),
        attributes.sequence(get("sequence")),
        attributes.time(get("time")),
        *payload.read(kind, version, _unwrapped(value)),
        event_uuid(event_id),
        version,
        record,
    )


def _unwrapped(value: bytes) -> bytes:
    """Debezium without JSON expansion sends the payload column as a JSON string that holds the JSON."""
    if value.lstrip()[:1] != b'"':
        return value
    inner = _parsed(value)
    return inner.encode() if isinstance(inner, str) else value


def _from_base64(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (ValueError, TypeError):
        raise UnreadableEvent("data_base64: not base64") from None


def _parsed(value: bytes) -> Any:
    try:
        return from_json(value, allow_inf_nan=False)
    except ValueError as error:
        raise UnreadableEvent(f"not JSON: {error}") from None


def _with_odd_texts(value: bytes) -> Any:
    """What the fast reader refuses may stand in an attribute that is to be ignored: half a surrogate pair."""
    try:
        return _parsed(value)
    except UnreadableEvent:
        if value.find(b"\\u") < 0:
            raise
        try:
            return json_text.lenient(value.decode())
        except UnicodeDecodeError:
            raise UnreadableEvent("not UTF-8") from None


def _json_object(value: bytes) -> dict[str, Any]:
    parsed = _with_odd_texts(value)
    if not isinstance(parsed, dict):
        raise UnreadableEvent("not a JSON object")
    return parsed


def _whatever_names_it(record: Record, headers: Headers) -> tuple[str | None, str | None]:
    """(order id, event id) of a record that can't be read, as far as they can be: so that erasure finds it."""
    found: Mapping[str, Any] = {}
    value = record.value or b""
    if len(value) <= MAX_BYTES and (says_structured(headers) or b'"specversion"' in value):
        found = _object_or_nothing(value)
    return (
        _or_none("subject", headers.get("ce_subject"), found.get("subject")) or _key_or_none(record.key),
        _or_none("id", headers.get("ce_id"), found.get("id"), headers.get("id")),
    )


def _object_or_nothing(value: bytes) -> dict[str, Any]:
    try:
        return _json_object(value)
    except UnreadableEvent:
        return {}


def _or_none(name: str, *candidates: Any) -> str | None:
    for candidate in candidates:
        try:
            return attributes.key(name, candidate)
        except UnreadableEvent:
            continue
    return None


def _key_or_none(key: bytes | None) -> str | None:
    try:
        return key_text(key)
    except UnreadableEvent:
        return None
