"""The shop's read model in a real database, behind a real Kafka, and nothing arrives as it should."""

from __future__ import annotations

import pytest

from testkit.delivery import deliver_badly
from testkit.events import some_orders
from testkit.running import RunningWorker
from testkit.truth import assert_true

from .monthly_revenue import MonthlyRevenue


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whatever_kafka_delivers_the_rows_are_true(
    projector_worker: RunningWorker, database_url: str, seed: int
) -> None:
    deliveries = deliver_badly(some_orders(30, seed), seed)
    await projector_worker.deliver(deliveries)
    await assert_true(database_url, deliveries)
    await assert_true(database_url, deliveries, MonthlyRevenue())
