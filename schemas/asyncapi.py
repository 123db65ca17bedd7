"""The AsyncAPI document of the events' topic: channel, consumer, and one message for each event type.

Pure, and complete in itself: data as schemas.json_schema has them, with references inside the document.
"""

from __future__ import annotations

from typing import Any

from schemas.event_samples import SAMPLES, sample_attributes, sample_event
from schemas.events import MAX_KEY, PLACED
from schemas.json_schema import ATTRIBUTES, LIMITS, REQUIRED, Json, data_schemas
from schemas.upcasts import CURRENT

TOPIC = "orders.events"  # PROJECTOR_TOPICS and PROJECTOR_GROUP_ID, unless set otherwise
GROUP = "order-projector"

_BINDING = "0.5.0"
_CHANNEL = "#/channels/ordersEvents"
_NO_NULL = (
    "Nothing is read from the value, but it has to be there, `{}` or `null` in JSON's words: "
    "a record whose value is null in Kafka's sense erases the order."
)


def document() -> Json:
    data, common = data_schemas("#/components/schemas/{model}")
    messages = {
        **{name: _binary(name, data.get(name)) for name in SAMPLES},
        "cloudevents.structured": _STRUCTURED,
        "outbox.debezium": _OUTBOX,
        "tombstone": _TOMBSTONE,
    }
    return {
        "asyncapi": "3.1.0",
        "id": "urn:order-projector:events",
        "info": {
            "title": "Order events",
            "version": f"{CURRENT}.0.0",
            "description": _INFO,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {"ordersEvents": _channel(list(messages))},
        "operations": {"projectOrders": _operation(list(messages))},
        "components": {
            "messages": messages,
            "messageTraits": {"cloudEventsBinary": _BINARY_TRAIT},
            "schemas": {**common, "CloudEvent": _CLOUD_EVENT},
        },
    }


def _channel(messages: list[str]) -> Json:
    return {
        "address": TOPIC,
        "title": "What happened to orders",
        "description": "Keyed by the order's id, so that a partition has an order's events together.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"kafka": {"topic": TOPIC, "bindingVersion": _BINDING}},
    }


def _operation(messages: list[str]) -> Json:
    return {
        "action": "receive",
        "channel": {"$ref": _CHANNEL},
        "title": "Project orders",
        "summary": "Applies each event once, in its order's sequence, to the read models in PostgreSQL.",
        "messages": [{"$ref": f"{_CHANNEL}/messages/{name}"} for name in messages],
        "bindings": {"kafka": {"groupId": {"type": "string", "default": GROUP}, "bindingVersion": _BINDING}},
    }


def _binary(name: str, data: Json | None) -> Json:
    summary, _, sample = SAMPLES[name]
    return {
        "name": name,
        "title": name,
        "summary": summary,
        "traits": [{"$ref": "#/components/messageTraits/cloudEventsBinary"}],
        "headers": {"type": "object", "properties": {"ce_type": {"const": name}}},
        "payload": data or {"description": _NO_NULL},
        "examples": [{"name": name, "headers": _sample_headers(name), "payload": sample or {}}],
    }


def _sample_headers(name: str) -> dict[str, str]:
    attributes = {f"ce_{attribute}": str(value) for attribute, value in sample_attributes(name).items()}
    return {**attributes, "content-type": "application/json"}


def _as_header(rule: Json) -> Any:
    """An attribute's rule for a header, which is always a text."""
    texts = [form for form in rule.get("anyOf", ()) if form["type"] == "string"]
    return {**{name: value for name, value in rule.items() if name != "anyOf"}, **(texts[0] if texts else {})}


def _key(description: str) -> Json:
    key = {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "description": description}
    return {"kafka": {"key": key, "bindingVersion": _BINDING}}


_INFO = f"""Events in, read models out: this document describes what the projector reads.

One record is one event, in any of three encodings, recognised record by record: CloudEvents 1.0 binary (the
messages named by their type), CloudEvents 1.0 structured (cloudevents.structured; the JSON Schema of each type's
whole event stands beside this document, as order.placed.json and so on), and the shape that Debezium's outbox event
router gives (outbox.debezium). A type that is not listed is no error: it advances the order's version and changes
nothing else.

{LIMITS}"""

_BINARY_TRAIT: Json = {
    "contentType": "application/json",
    "headers": {
        "type": "object",
        "description": "CloudEvents 1.0 attributes as the Kafka binding has them, UTF-8. The value is data.",
        "properties": {
            **{f"ce_{name}": _as_header(rule) for name, rule in ATTRIBUTES.items()},
            "ce_type": {"type": "string"},
            "content-type": {
                "type": "string",
                "description": "May be absent; application/cloudevents… would say that the event is structured.",
                "default": "application/json",
            },
        },
        "required": [f"ce_{name}" for name in REQUIRED],
    },
    "bindings": _key("The order's id, as ce_subject has it."),
}

_CLOUD_EVENT: Json = {
    "type": "object",
    "properties": {
        **ATTRIBUTES,
        "type": {"type": "string", "description": "A name of these messages, or one yet unknown."},
        "data": {"description": "The payload of the message that `type` names."},
        "data_base64": {"type": "string", "description": "The same JSON in base64; counts where there is no data."},
    },
    "required": REQUIRED,
}

_STRUCTURED: Json = {
    "name": "cloudevents.structured",
    "title": "Any event, CloudEvents structured",
    "summary": "Recognised by its content type, or without one by its member specversion.",
    "contentType": "application/cloudevents+json",
    "headers": {
        "type": "object",
        "properties": {"content-type": {"type": "string", "pattern": r"^application/cloudevents\+json"}},
    },
    "payload": {"$ref": "#/components/schemas/CloudEvent"},
    "examples": [{"headers": {"content-type": "application/cloudevents+json"}, "payload": sample_event(PLACED)}],
    "bindings": _key("The order's id, as subject has it."),
}

_OUTBOX: Json = {
    "name": "outbox.debezium",
    "title": "Any event, as Debezium's outbox event router writes it",
    "summary": "Recognised by its header id, and no header that begins with ce_.",
    "contentType": "application/json",
    "headers": {
        "type": "object",
        "description": (
            "Placed by table.fields.additional.placement=type:header:eventType,sequence:header:sequence,"
            "time:header:time,source:header:source; the router adds id itself."
        ),
        "properties": {
            "eventType": {"type": "string", "description": "CloudEvents' type."},
            **{name: _as_header(ATTRIBUTES[name]) for name in ("id", "sequence", "time", "schemaversion")},
            "source": {**ATTRIBUTES["source"], "description": "Absent: the topic's name."},
        },
        "required": ["eventType", "id", "sequence", "time"],
    },
    "payload": {
        "description": (
            "The payload of the message that eventType names, or a JSON string that holds its JSON text. A type "
            "without data needs a payload too, such as {}: with a string converter a NULL in the column becomes a null "
            "value, which erases the order."
        ),
        "anyOf": [{"type": "object"}, {"type": "string", "contentMediaType": "application/json"}, {"type": "null"}],
    },
    "bindings": _key("The order's id, bare or as a JSON string."),
}

_TOMBSTONE: Json = {
    "name": "tombstone",
    "title": "Erase an order",
    "summary": "A record whose value is null erases the order that its key names, whatever its headers say.",
    "payload": {"type": "null"},
    "bindings": _key("The order's id, bare or as a JSON string."),
}
