"""For schemathesis: what its requests need beyond the schema. Loaded by it, not by pytest.

`ORDERS` in the environment: ids of orders that are there, comma-separated.
"""

from __future__ import annotations

import os
from itertools import count
from typing import Any

import schemathesis
from schemathesis.core.parameters import ParameterLocation

_ORDERS = os.environ["ORDERS"].split(",")
_KEY = "Idempotency-Key"
_numbers = count()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    number = next(_numbers)
    if case.headers and case.headers.get(_KEY):
        case.headers[_KEY] = _own(case.headers[_KEY], number)
    if case.meta is None or case.meta.is_negative_at(ParameterLocation.PATH) or number % 3 == 0:
        return
    if "order_id" in case.path_parameters:  # one that is there, so that there is something to do; and to be done
        case.path_parameters["order_id"] = _ORDERS[number % len(_ORDERS)]
        if case.headers and number % 2:
            case.headers.pop("If-Match", None)


def _own(key: str, number: int) -> str:
    """A key is for one request: the example's, or the shortest there is, would in most of them be another's."""
    return f"{key[:-12]}{number:012}" if len(key) > 100 else f"{key}-{number}"


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """A number that is money has at most four decimal places as it is written, one that is an integer none."""
    return _written(body)


def _written(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _written(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_written(one) for one in value]
    if isinstance(value, float):
        return int(value) if value.is_integer() else round(value, 4)
    return value
