"""The HTTP service against its own OpenAPI document, by schemathesis: good and bad requests of each kind, on a real
database. No answer is a 5xx, and none is another than the document says: status, headers, content type, schema.

`API_SEED=n` repeats a run.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.support.commands import DATA, place
from tests.support.http_service import HttpService, bearer, http_service

SEED = int(os.environ.get("API_SEED") or secrets.randbelow(2**32))
EXAMPLES = 25  # of each call, by hypothesis; as many again and more are made from the schemas' edges

# What requests that are good by themselves may be answered with: the order may stand otherwise, or a key be taken.
GOOD = ["2xx", "304", "404", "409", "412"]
BAD = ["400", "401", "404", "405", "408", "409", "412", "413", "414", "422", "431"]
# Histories, for orders in each state.
STATES = ((), ("confirm",), ("confirm", "pay"), ("confirm", "pay", "ship"), ("cancel",), ("lines", "address"))
KINDS = {"lines": "add_line", "address": "change_address"}

CONFIG: dict[str, Any] = {
    "seed": SEED,
    "headers": bearer(),
    "generation": {"mode": "all", "max-examples": EXAMPLES},
    "checks": {
        "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx"]},
        "positive_data_acceptance": {"expected-statuses": GOOD},
        "negative_data_rejection": {"expected-statuses": BAD},
    },
}


@pytest_asyncio.fixture
async def api(database_url: str) -> AsyncIterator[Any]:
    """The document, of a service that has some orders."""
    print(f"API_SEED={SEED}")
    async with http_service(database_url) as service:
        ORDERS[:] = [await order(service, *history) for history in STATES for _ in range(3)]
        base = f"http://127.0.0.1:{service.port}"
        config = SchemathesisConfig.from_dict({**CONFIG, "base-url": base})
        yield schemathesis.openapi.from_url(f"{base}/openapi.json", config=config, headers=bearer())
        said = service.member.said()
        assert "Traceback" not in said
        assert "request_failed" not in said


ORDERS: list[str] = []


async def order(service: HttpService, *history: str) -> str:
    """An order to which this has happened."""
    placed = (await service.client.post("/orders", json=place())).json()["order_id"]
    for step in history:
        answer = await service.client.post(f"/orders/{placed}/{step}", json=DATA[KINDS.get(step, step)] or {})
        assert answer.status_code == 202, answer.text
    return str(placed)


# A stream has no end, and /metrics no schema worth the name.
document = schemathesis.pytest.from_fixture("api").exclude(operation_id=["stream"])


@document.given(one=st.integers(0, 4 * len(STATES)))
@document.parametrize()
@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=EXAMPLES)
def test_no_answer_is_other_than_the_document_says(case: Any, one: int) -> None:
    good_path = case.meta is None or not case.meta.is_negative_at(ParameterLocation.PATH)
    if good_path and "order_id" in case.path_parameters and one < len(ORDERS):
        case.path_parameters["order_id"] = ORDERS[one]  # one that is there, so that there is something to do
    # JSON Schema can't say how many decimal places a number has.
    excluded = [positive_data_acceptance] if holds_a_number(case.body) else []
    case.call_and_validate(excluded_checks=excluded)


def holds_a_number(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(holds_a_number, value.values()))
    if isinstance(value, list):
        return any(map(holds_a_number, value))
    return isinstance(value, float)
