"""The JSON Schema of each event type: a whole CloudEvents structured event, made from the types that decode it.

Pure. The envelope's rules are those of schemas.attributes in JSON Schema's words, the data's come from the
TypedDicts of schemas.events. tests/contract holds both to what `schemas.wire.decode` takes and refuses.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from schemas import money
from schemas.event_samples import SAMPLES, sample_event
from schemas.events import ADAPTERS, MAX_KEY
from schemas.upcasts import CURRENT

Json = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

LIMITS = (
    "Open: unknown fields are ignored. JSON Schema can't say these rules, which hold too: no attribute named here and "
    "nothing in data, unknown fields included, holds NUL or half a surrogate pair; a number has at most 4 decimal "
    "places where it is money, none, not even .0, where it is an integer, and at most 4,000 digits; time is a moment "
    "that exists; source has at most 2,000 bytes, the record 1 MiB and 200 levels. Data of an older schemaversion is "
    "read too, but is not described here."
)

_MAX_SEQUENCE = 2**63 - 1
_STORABLE = r"^[^\u0000]*$"  # PostgreSQL holds no NUL
_BASE64 = r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
_RFC3339 = (
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)"
    r"(\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)

MONEY: Json = {
    "title": "Money",
    "description": (
        "From 0, below 10^14, at most 4 decimal places. A string keeps it exact for everybody; of a number the digits "
        "count as they are written (1.50000 has 5 places). multipleOf would not do: validators divide binary floats."
    ),
    "anyOf": [
        {"type": "string", "pattern": money.PATTERN},
        {"type": "number", "minimum": 0, "exclusiveMaximum": 10**14},
    ],
}


def _digits_up_to(limit: int) -> str:
    """A pattern of the positive integers up to `limit`, zeros before them allowed, since `maximum` takes no text."""
    digits = str(limit)
    shorter = f"[1-9][0-9]{{0,{len(digits) - 2}}}"
    below = [
        f"{digits[:at]}[{0 if at else 1}-{int(digit) - 1}][0-9]{{{len(digits) - 1 - at}}}"
        for at, digit in enumerate(digits)
        if digit != "0"
    ]
    return f"^0*({'|'.join([shorter, *below, digits])})$"


def _key(description: str) -> Json:
    return {
        "description": description,
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_KEY,
        "pattern": _STORABLE,
    }


# Every attribute but `type`, as a structured event has it.
ATTRIBUTES: Json = {
    "specversion": {"const": "1.0", "type": "string"},
    "id": _key("With source the event's identity: two records with the same source and id are the same event."),
    "source": {
        "description": "Who says so: a URI reference.",
        "type": "string",
        "format": "uri-reference",
        "pattern": r"^[^\u0000-\u0020\u007f]+$",
        "maxLength": 2_000,
    },
    "subject": _key("The order's id, which is the record's key too."),
    "time": {
        "description": "When it happened: RFC 3339 with an offset; digits beyond the microsecond are cut off.",
        "type": "string",
        "format": "date-time",
        "pattern": _RFC3339,
    },
    "sequence": {
        "description": "The order's version that this event makes: 1, 2, 3 … with no hole, at most 2^63-1.",
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": _MAX_SEQUENCE},
            {"type": "string", "pattern": _digits_up_to(_MAX_SEQUENCE), "maxLength": 40},
        ],
    },
    "schemaversion": {
        "description": f"The version of the data's shape, {CURRENT} if absent. A newer one is read as {CURRENT}.",
        "anyOf": [
            {"type": "integer", "minimum": CURRENT},
            {"type": "string", "pattern": r"^0*[1-9][0-9]*$", "maxLength": 40},
            {"type": "null"},
        ],
    },
    "traceparent": {"description": "W3C trace context. What can't be read of it is ignored, never an error."},
}
REQUIRED = ["id", "sequence", "source", "specversion", "subject", "time", "type"]


class WithoutFieldTitles(GenerateJsonSchema):
    """`"title": "Tracking Number"` beside `tracking_number` says nothing."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def data_schemas(ref_template: str) -> tuple[dict[str, Json], dict[str, Json]]:
    """(event type → schema of its data, name → schema these refer to by `ref_template`)."""
    made, common = WithoutFieldTitles(ref_template=ref_template).generate_definitions(
        [(name, "validation", adapter.core_schema) for name, adapter in ADAPTERS.items()]
    )
    money_ref = {"$ref": ref_template.format(model="Money")}
    data = {name: _refined(schema, money_ref) for (name, _), schema in made.items()}
    return data, {"Money": MONEY, **{name: _refined(schema, money_ref) for name, schema in common.items()}}


def event_schemas() -> dict[str, Json]:
    """Event type → the JSON Schema of a structured event of that type."""
    data, common = data_schemas("#/$defs/{model}")
    return {name: _event(name, data.get(name), common) for name in SAMPLES}


def _event(name: str, data: Json | None, common: dict[str, Json]) -> Json:
    base64: Json = {"type": "string", "pattern": _BASE64, "contentEncoding": "base64"}
    base64 |= {"contentMediaType": "application/json", "contentSchema": data or {}}
    in_base64 = {"properties": {"data_base64": base64}, "required": ["data_base64"] if data else []}
    here = data or {"description": "Nothing is read from it; it may be absent."}
    schema: Json = {
        "$schema": DIALECT,
        "$id": f"urn:order-projector:event:{name}:{CURRENT}",
        "title": name,
        "description": f"{SAMPLES[name].summary} {LIMITS}",
        "type": "object",
        "properties": {**ATTRIBUTES, "type": {"const": name, "type": "string"}, "data": here},
        "required": REQUIRED,
        # data_base64 counts only where there is no data.
        "anyOf": [{"required": ["data"]}, in_base64],
        "examples": [sample_event(name)],
    }
    used = _used(data, common)
    return {**schema, "$defs": {name: common[name] for name in used}} if used else schema


def _refined(schema: Any, money_ref: Json) -> Any:
    """What pydantic says, and what it can't know: money may be a number too, and no text holds NUL.

    Without the bound of 4,000 digits: few JSON parsers could read it, so it is among the LIMITS.
    """
    if isinstance(schema, list):
        return [_refined(item, money_ref) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("pattern") == money.PATTERN:
        return money_ref
    refined = {name: _refined(value, money_ref) for name, value in schema.items()}
    if schema.get("type") == "string":
        refined.setdefault("pattern", _STORABLE)
    if isinstance(schema.get("additionalProperties"), dict):
        refined["propertyNames"] = {"pattern": _STORABLE}
    if schema.get("type") == "integer":
        refined.pop("exclusiveMaximum", None)
    return refined


def _used(schema: Any, common: dict[str, Json]) -> set[str]:
    """The names in `common` that a schema refers to, directly or through another."""
    if isinstance(schema, list):
        return set().union(*(_used(item, common) for item in schema))
    if not isinstance(schema, dict):
        return set()
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    found = {name} | _used(common[name], common) if name else set()
    return found.union(*(_used(value, common) for value in schema.values()))
