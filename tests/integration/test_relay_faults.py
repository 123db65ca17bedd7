"""The relay where answers are lost, never come, or where somebody leaves a transaction open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from random import Random
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from producer.relay_observation import RelayObservation
from runtime.settings import Settings
from schemas.events import Event
from schemas.wire import decode
from testkit.deadline import eventually
from tests.integration.test_relay import records, relaying
from tests.support.commands import place
from tests.support.saboteurs.kafka import Api, KafkaProxy, Request
from tests.support.saboteurs.line import Severed
from tests.support.write_side import Till, settings_of, till

ORDERS = [f"o-{n}" for n in range(8)]


@pytest_asyncio.fixture
async def ours(database_url: str) -> AsyncIterator[Till]:
    async with till(database_url) as found:
        yield found


async def firsts(settings: Settings) -> dict[str, list[int]]:
    """Each order's versions in the order in which they came first."""
    found: dict[str, list[int]] = {}
    for event in map(decode, await records(settings)):
        assert isinstance(event, Event)
        seen = found.setdefault(event.order_id, [])
        if event.version not in seen:
            seen.append(event.version)
    return found


async def all_sent(told: RelayObservation, ours: Till, settings: Settings) -> None:
    many = len(await ours.outbox())
    await eventually(lambda: told.sent >= many, 60)
    assert await firsts(settings) == {order: [1, 2, 3, 4] for order in ORDERS}


@pytest.mark.apache_kafka
async def test_answers_of_kafka_that_are_lost(ours: Till, database_url: str, kafka_bootstrap: str, topic: str) -> None:
    with KafkaProxy(kafka_bootstrap) as proxy:
        settings = settings_of(database_url, proxy.address, topic)
        lost = [3]

        def cut(_: Request, __: bytes) -> bytes | None:
            if lost[0]:
                lost[0] -= 1
                raise Severed(abruptly=True)
            return None

        proxy.answer(Api.PRODUCE, cut)
        async with relaying(settings) as told:
            for order in ORDERS:
                await ours.tell(order, "place", "confirm", "pay", "ship")
            await all_sent(told, ours, settings)
        assert lost == [0]


@pytest.mark.apache_kafka
@pytest.mark.parametrize("how", ["swallowed", "cut off"])
async def test_sends_that_kafka_never_gets(
    ours: Till, database_url: str, kafka_bootstrap: str, topic: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producer.relay._SEND", 1.5)
    with KafkaProxy(kafka_bootstrap) as proxy:
        settings = settings_of(database_url, proxy.address, topic)
        rule = proxy.swallow(Api.PRODUCE, 2) if how == "swallowed" else proxy.sever(Api.PRODUCE, 5)
        async with relaying(settings) as told:
            for order in ORDERS:
                await ours.tell(order, "place", "confirm", "pay", "ship")
            await all_sent(told, ours, settings)
            failures = told.registry.get_sample_value("projector_relay_failures_total")
        assert rule.happened == (2 if how == "swallowed" else 5)
        assert (failures or 0) >= (1 if how == "swallowed" else 0)


@pytest.mark.apache_kafka
async def test_a_transaction_left_open_in_another_database_holds_it_up_and_is_told(
    ours: Till,
    database_url: str,
    postgres_url: str,
    kafka_bootstrap: str,
    topic: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("producer.relay._MEASURE", 0.05)
    settings = settings_of(database_url, kafka_bootstrap, topic)
    elsewhere = await asyncpg.connect(postgres_url)
    try:
        async with relaying(settings) as told:
            left_open = elsewhere.transaction()
            await left_open.start()
            await elsewhere.fetchval("SELECT pg_current_xact_id()")
            await ours.tell("o-0", "place")
            value = told.registry.get_sample_value
            await eventually(lambda: (value("projector_outbox_held_up_seconds") or 0) > 0.3)
            assert told.sent == 0
            await left_open.rollback()
            await eventually(lambda: told.sent == 1)
    finally:
        await elsewhere.close()


@pytest.mark.apache_kafka
async def test_a_record_that_kafka_refuses_holds_up_its_own_order_alone(
    ours: Till, database_url: str, kafka_bootstrap: str, topic: str, kafka_admin: AIOKafkaAdminClient, monkeypatch: Any
) -> None:
    monkeypatch.setattr("producer.relay._MEASURE", 0.05)
    monkeypatch.setattr("producer.relay._RETRY", 0.3)
    settings = settings_of(database_url, kafka_bootstrap, topic)
    await limited(kafka_admin, topic, 20_000)
    large = {**place(), "shipping_address": {"city": Random(1).randbytes(40_000).hex()}}
    await ours.ask("place", "a", {**place(), "shipping_address": {"city": Random(2).randbytes(200_000).hex()}})
    await ours.tell("a", "confirm", "pay", "ship")  # which are in a batch of their own, after the refused one
    await ours.ask("place", "o-0", large)
    await ours.tell("o-0", "confirm", "pay", "ship")
    async with relaying(settings) as told:
        for order in ORDERS[1:]:
            await ours.tell(order, "place", "confirm", "pay", "ship")
        value = told.registry.get_sample_value
        await eventually(lambda: value("projector_outbox_held_orders") == 2, 30)
        await come(settings, ORDERS[1:])
        await limited(kafka_admin, topic, 100_000)  # enough for the one, not for the other, which comes before it
        await eventually(lambda: value("projector_outbox_held_orders") == 1, 60)
        await come(settings, ORDERS)


async def come(settings: Settings, orders: Sequence[str]) -> None:
    """Wait until the events of these orders, and of no others, have come."""

    async def there() -> bool:
        assert await firsts(settings) == {order: [1, 2, 3, 4] for order in orders}
        return True

    await eventually(there, 30, 0.3)


async def limited(admin: AIOKafkaAdminClient, topic: str, size: int) -> None:
    """Have the broker refuse larger records."""
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": str(size)})])
