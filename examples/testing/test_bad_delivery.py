"""The shop's read model in a real database, behind a real Kafka, and nothing arrives as it should."""

from __future__ import annotations

import pytest

from examples.adding_a_read_model.orders_by_country import OrdersByCountry
from testkit.delivery import deliver_badly
from testkit.events import some_orders
from testkit.running import RunningWorker
from testkit.truth import assert_true


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whatever_kafka_delivers_the_rows_are_true(
    projector_worker: RunningWorker, database_url: str, seed: int
) -> None:
    events = some_orders(30, seed)
    await projector_worker.deliver(deliver_badly(events, seed))
    await assert_true(database_url, events)
    await assert_true(database_url, events, OrdersByCountry())
