"""A worker with a bug in a read model, for one customer in ten: `python -m tests.faults.buggy worker`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.main import main
from consumer.read_models.fulfilment_queue import FulfilmentQueue
from schemas.order import OrderState

_right = FulfilmentQueue.row


def fails_on(customer: str | None) -> bool:
    """Whose orders it can't take."""
    return (customer or "").endswith("7")


def _wrong(self: FulfilmentQueue, order: OrderState) -> Mapping[str, Any] | None:
    if fails_on(order.customer_id):
        raise KeyError("a bug, on purpose")
    return _right(self, order)


if __name__ == "__main__":
    FulfilmentQueue.row = _wrong  # type: ignore[method-assign]  # that is the point
    main()
