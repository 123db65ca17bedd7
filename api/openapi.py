"""The OpenAPI 3.1 document, made once, when the service starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi

from api.described import components
from producer.order import Kind

_TAGS = {
    "commands": "Orders are changed. 202: it is done, and the token lets a reader see it.",
    "reads": "Read models, each answer with its age.",
    "operations": "For whoever runs it.",
}
_TEXT = """Commands on orders, and read models that say how old they are.

Errors are `application/problem+json` (RFC 9457); a method that a path doesn't have is 405 with `Allow`; HEAD is
answered where GET is. An id in a path is one segment, percent-encoded: a slash in it is `%2F`."""


def install(app: FastAPI, kinds: Sequence[Kind]) -> None:
    """Serve the document at `/openapi.json`. To be called when all routes are there."""
    found = document(app, kinds)
    app.openapi_schema = found
    text = orjson.dumps(found)

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return Response(text, media_type="application/json", headers={"Cache-Control": "private, no-cache"})


def document(app: FastAPI, kinds: Sequence[Kind]) -> dict[str, Any]:
    """What the routes say of themselves, and the named parts that they refer to."""
    made = get_openapi(
        title=app.title,
        version=app.version,
        description=_TEXT,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        tags=[{"name": name, "description": text} for name, text in _TAGS.items()],
        routes=app.routes,
    )
    made["components"] = components(kinds)
    made["security"] = [{"bearer": []}, {"certificate": []}]
    for path in made["paths"].values():
        for operation in path.values():
            _tidy(operation)
    return made


def _tidy(operation: dict[str, Any]) -> None:
    """What the framework says of a parameter that may be left out is that it may be null, which no URL and no header
    can say; and beside a reference to an answer it repeats the status."""
    for parameter in operation.get("parameters", []):
        schema = parameter["schema"]
        for choice in schema.pop("anyOf", []):
            if choice != {"type": "null"}:
                schema.update(choice)
        schema.pop("title", None)
    for status, answer in operation["responses"].items():
        if "$ref" in answer:
            operation["responses"][status] = {"$ref": answer["$ref"]}
