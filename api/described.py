"""How the routes are described in the OpenAPI document: what each takes and answers, put together from named parts."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from pydantic.json_schema import models_json_schema

from api.document_samples import BODIES, METRICS, PROBLEMS, STREAM, TOKEN
from api.documents import MODELS
from producer.order import EVENT_OF, Kind
from runtime.http_connection import PROBLEMS as TYPES
from schemas.event_samples import SAMPLES
from schemas.events import DATA_OF
from schemas.json_schema import MONEY, WithoutFieldTitles, data_schemas

Json = dict[str, Any]

_SCHEMAS = "#/components/schemas/"
_LIMITS = (
    "What JSON Schema can't say: a number that is money has at most 4 decimal places as it is written, one that is an "
    "integer none, not even .0; no text holds NUL or half a surrogate pair; the body has at most 1 MiB and 200 levels."
)

# Of any request: what a server, a gate or a dependency may say of it.
_ALWAYS = (400, 408, 431, 500, 503)
_OF_CLIENTS = (401, 413, 414, 422)

OPEN: Json = {"security": []}


def _header(description: str, example: str, *, required: bool = True, **schema: Any) -> Json:
    return {
        "description": description,
        "required": required,
        "schema": {"type": "string", **schema},
        "example": example,
    }


HEADERS: dict[str, Json] = {
    "ETag": _header(
        "The body's entity tag, strong: the read models' generation and the order's version. Absent where the write "
        "model answers.",
        '"1.3"',
        required=False,
    ),
    "Cache-Control": _header("Keep it for yourself alone, and ask each time.", "private, no-cache"),
    "Age": _header("Seconds for which a cache of ours has had it.", "0", pattern="^[0-9]+$"),
    "X-Write-Token": _header("Names this version: who brings it to `GET /orders/{order_id}` sees no older.", TOKEN),
    "X-Write-Token-Window": _header(
        "Seconds for which a client that can't keep tokens does well to bring it, by the lag as it is.",
        "5",
        pattern="^[0-9]+$",
    ),
    "Location": _header("Where the order is read.", "/orders/01970c2e-7b00-7000-8000-000000000001"),
    "Retry-After": _header("Seconds after which to try again.", "1", required=False, pattern="^[0-9]+$"),
    "WWW-Authenticate": _header("How to authenticate.", "Bearer"),
}

_PROBLEM_HEADERS = {401: ("WWW-Authenticate",), 409: ("Retry-After",), 503: ("Retry-After",)}


class Answer(NamedTuple):
    """A success. `model` names its body's schema."""

    model: str
    text: str
    headers: tuple[str, ...] = ()
    status: int = 200


def operation(name: str, summary: str, text: str, tag: str, answer: Answer, *problems: int, **more: Any) -> Json:
    """What the framework is told of a route beside its parameters. `more` goes into the document as it is."""
    responses: dict[int, Json] = {answer.status: _success(answer), **more.pop("responses", {})}
    expected = () if more.get("security") == [] else _OF_CLIENTS
    for status in sorted({*_ALWAYS, *expected, *problems}):
        responses[status] = {"$ref": f"#/components/responses/Problem{status}"}
    return {
        "operation_id": name,
        "summary": summary,
        "description": text,
        "tags": [tag],
        "status_code": answer.status,
        "responses": responses,
        "openapi_extra": more,
    }


def unchanged(*headers: str) -> dict[int, Json]:
    """304, which has no body."""
    return {304: {"description": "The client has this body already.", "headers": _headers(headers)}}


def body_of(kind: Kind) -> Json:
    """The request's body of a command."""
    event = EVENT_OF[kind]
    sample: Json = SAMPLES[event].data or {}
    example = sample if kind == "place" else {**sample, "expected_version": SAMPLES[event].version - 1}
    content = {"application/json": {"schema": {"$ref": _SCHEMAS + _name(kind)}, "example": example}}
    return {"requestBody": {"description": _LIMITS, "required": DATA_OF[event] is not None, "content": content}}


def components(kinds: Sequence[Kind]) -> Json:
    """The named parts."""
    _, made = models_json_schema(
        [(model, "serialization") for model in MODELS],
        ref_template=_SCHEMAS + "{model}",
        schema_generator=WithoutFieldTitles,
    )
    schemas: Json = {**made["$defs"], "Money": MONEY}
    data, common = data_schemas(_SCHEMAS + "{model}")
    schemas |= {name: schema for name, schema in common.items() if name in ("Customer", "Line")}
    for kind in {*kinds} - {"remove_line"}:  # which has no body
        schemas[_name(kind)] = _command(kind, data.get(EVENT_OF[kind]), common)
    return {
        "schemas": dict(sorted(schemas.items())),
        "responses": {f"Problem{status}": _problem(status) for status in PROBLEMS},
        "headers": HEADERS,
        "examples": {name: {"value": example} for name, example in BODIES.items()},
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer", "description": "One of `PROJECTOR_API_TOKENS`."},
            "certificate": {
                "type": "mutualTLS",
                "description": "A certificate of `PROJECTOR_API_TLS_CLIENT_CA`. With tokens set too, both are needed.",
            },
        },
    }


def _command(kind: Kind, data: Json | None, common: dict[str, Json]) -> Json:
    """The data of the event that a command becomes, and beside them the version that it is meant for."""
    schema: Json = {"type": "object", "properties": {}}
    if data is not None:
        schema = dict(common[data["$ref"].rpartition("/")[2]])
    if kind != "place":
        version: Json = {
            "description": "Do it if this is the order's version: else 409.",
            "anyOf": [{"type": "integer", "minimum": 0, "maximum": 2**63 - 1}, {"type": "null"}],
            "examples": [1],
        }
        schema["properties"] = {**schema["properties"], "expected_version": version}
    return {**schema, "title": _name(kind)}


def _name(kind: Kind) -> str:
    return "".join(word.title() for word in kind.split("_"))


def _success(answer: Answer) -> Json:
    told: Json = {"description": answer.text}
    match answer.model:
        case "text/event-stream":
            told["content"] = {answer.model: {"schema": {"type": "string"}, "example": STREAM}}
        case "text/plain":
            told["content"] = {answer.model: {"schema": {"type": "string"}, "example": METRICS}}
        case model:
            # By reference: the framework would take the nulls out of an example that stands here.
            examples = {"one": {"$ref": f"#/components/examples/{model}"}}
            told["content"] = {"application/json": {"schema": {"$ref": _SCHEMAS + model}, "examples": examples}}
    if answer.headers:
        told["headers"] = _headers(answer.headers)
    return told


def _headers(names: Sequence[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _problem(status: int) -> Json:
    kinds = PROBLEMS[status]
    told = [problem_of(status, kind, detail) for kind, detail in kinds]
    examples = {one["type"].removeprefix(TYPES): {"value": one} for one in told}
    listed = ", ".join(f"`{kind}`" for kind, _ in kinds)
    return {
        "description": f"{HTTPStatus(status).phrase}: {listed}.",
        "headers": _headers(_PROBLEM_HEADERS.get(status, ())),
        "content": {
            "application/problem+json": {"schema": {"$ref": _SCHEMAS + "Problem"}, "examples": examples},
        },
    }


def problem_of(status: int, kind: str, detail: str) -> Json:
    """A problem's document."""
    return {"type": TYPES + kind, "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
