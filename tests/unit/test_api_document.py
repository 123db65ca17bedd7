"""The OpenAPI document: valid, complete, with examples that fit their schemas; and made once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple
from unittest.mock import MagicMock

import httpx2
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.app import service
from api.document_samples import PROBLEMS
from producer import commands
from runtime.settings import load

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
# CONTRACT 7, and what the write side has besides.
PATHS = {
    "/orders": {"get", "post"},
    "/orders/{order_id}": {"get"},
    "/orders/{order_id}/timeline": {"get"},
    "/orders/{order_id}/stream": {"get"},
    "/orders/{order_id}/lines/{sku}": {"delete"},
    "/customers/{customer_id}": {"get"},
    "/products/{sku}/sales": {"get"},
    "/fulfilment-queue": {"get"},
    "/freshness": {"get"},
    "/health/live": {"get"},
    "/health/ready": {"get"},
    "/metrics": {"get"},
    **{
        f"/orders/{{order_id}}/{command}": {"post"}
        for command in (
            "confirm", "pay", "fail-payment", "ship", "fail-delivery", "deliver", "cancel", "refund", "lines",
            "address",
        )
    },
}  # fmt: skip


@cache
def document() -> Any:
    made = service(load({}), MagicMock(), MagicMock(), b"s" * 32, dev=True)

    async def ask() -> Any:
        transport = httpx2.ASGITransport(app=made.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.get("/openapi.json")).json()

    with asyncio.Runner() as runner:
        return runner.run(ask())


class Operation(NamedTuple):
    name: str
    said: dict[str, Any]


def operations() -> Iterator[Operation]:
    for path, item in document()["paths"].items():
        for method, said in item.items():
            yield Operation(f"{method} {path}", said)


EACH = pytest.mark.parametrize("operation", list(operations()), ids=lambda one: one.name)


def resolved(part: Any) -> Any:
    """What a reference leads to."""
    while "$ref" in part:
        there = document()
        for name in part["$ref"].removeprefix("#/").split("/"):
            there = there[name]
        part = there
    return part


def validator(schema: Any) -> Draft202012Validator:
    return Draft202012Validator(
        {**schema, "components": document()["components"]}, format_checker=Draft202012Validator.FORMAT_CHECKER
    )


def test_it_is_valid_openapi_3_1() -> None:
    assert document()["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(document()).iter_errors()] == []


def test_every_call_of_the_contract_is_in_it_and_nothing_else() -> None:
    assert {path: set(item) for path, item in document()["paths"].items()} == PATHS


@EACH
def test_an_operation_says_what_it_is(operation: Operation) -> None:
    said = operation.said
    assert said["summary"]
    assert said["description"].endswith((".", "?"))
    assert said["tags"][0] in {tag["name"] for tag in document()["tags"]}
    assert all(parameter["description"].endswith(".") for parameter in said.get("parameters", []))
    # A URL or a header says a text or a number; that it may be null it can't.
    assert {one["schema"]["type"] for one in said.get("parameters", [])} <= {"string", "integer"}
    assert not any("anyOf" in one["schema"] for one in said.get("parameters", []))


def test_operations_have_names_of_their_own() -> None:
    names = [operation.said["operationId"] for operation in operations()]
    assert len(set(names)) == len(names)


@EACH
def test_an_answer_has_a_schema_and_an_example_that_fits_it(operation: Operation) -> None:
    successes = {status: one for status, one in operation.said["responses"].items() if status[0] in "23"}
    assert successes
    for status, one in successes.items():
        assert one["description"]
        if status == "304":
            assert "content" not in one
            continue
        for content in one["content"].values():
            examples = [resolved(example)["value"] for example in content.get("examples", {}).values()]
            for example in examples or [content["example"]]:
                validator(content["schema"]).validate(example)
        for header in map(resolved, one.get("headers", {}).values()):
            validator(header["schema"]).validate(header["example"])


@EACH
def test_whatever_may_go_wrong_is_a_problem_document(operation: Operation) -> None:
    problems = {int(status): resolved(one) for status, one in operation.said["responses"].items() if status[0] in "45"}
    everywhere = {400, 408, 431, 500, 503}
    assert everywhere | (set() if operation.said.get("security") == [] else {401, 413, 414, 422}) <= set(problems)
    for status, one in problems.items():
        assert set(one["content"]) == {"application/problem+json"}
        content = one["content"]["application/problem+json"]
        assert len(content["examples"]) == len(PROBLEMS[status])
        for example in content["examples"].values():
            validator(content["schema"]).validate(example["value"])
            assert example["value"]["status"] == status
    assert {name for status in (401, 503) for name in problems.get(status, {}).get("headers", {})} >= {"Retry-After"}


@EACH
def test_a_body_has_a_schema_and_an_example_that_is_a_command(operation: Operation) -> None:
    method, _, path = operation.name.partition(" ")
    if method != "post":
        assert "requestBody" not in operation.said
        return
    content = operation.said["requestBody"]["content"]["application/json"]
    validator(content["schema"]).validate(content["example"])
    kind: Any = operation.said["operationId"]
    assert commands.of_object(kind, "o-1", content["example"]).kind == kind
    assert ("expected_version" in resolved(content["schema"])["properties"]) is (path != "/orders")


def test_who_may_ask_is_said() -> None:
    said = document()
    assert {tuple(one) for one in said["security"]} == {("bearer",), ("certificate",)}
    assert set(said["components"]["securitySchemes"]) == {"bearer", "certificate"}
    open_ones = {operation.name for operation in operations() if operation.said.get("security") == []}
    assert open_ones == {"get /health/live", "get /health/ready"}


def test_nothing_is_named_that_is_not_used() -> None:
    text = str(document()["paths"]) + str(document()["components"])
    for kind, parts in document()["components"].items():
        if kind != "securitySchemes":
            assert [name for name in parts if f"#/components/{kind}/{name}'" not in text] == []
