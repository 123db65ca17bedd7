"""The demo from outside, and its proof: it says yes only where everything is right."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient
from rich.console import Console

from cli.proof_report import report
from consumer import proof, reference
from schemas.connection import Connection
from tests.support.engine import Engine, engine
from tests.support.fleet import Ended, projector
from tests.support.streams import Stream, demo_stream

ORDERS, SHOPS = "1500", "200"
READ_MODELS = ("order_summary", "order_timeline", "customer_summary", "product_sales_daily", "fulfilment_queue")


def proved(ended: Ended) -> dict[str, tuple[int, int, int]]:
    """The demo's table: what was proved, with the rows expected and found and the number of differences."""
    assert ended.code == 0, ended.out + ended.err
    assert "Every row is equal." in ended.out
    rows = re.findall(r"│ ([\w.]+) +│ +([\d,]+) │ +([\d,]+) │ +(\d+) │", ended.out)
    return {
        name: (int(expected.replace(",", "")), int(found.replace(",", "")), int(differences))
        for name, expected, found, differences in rows
    }


def all_is_well(table: dict[str, tuple[int, int, int]]) -> bool:
    assert set(READ_MODELS) < set(table)
    assert all(expected == found and differences == 0 for expected, found, differences in table.values()), table
    assert table["order_summary"][0] == int(ORDERS) - 1 + int(SHOPS)  # one was erased
    assert table["write_model.orders"][0] == int(SHOPS)
    assert table["dead_letters"][0] == 100
    assert table["parked_events"][0] == 0
    return table["order_timeline"][0] == table["processed_events"][0] > 4 * int(ORDERS)


async def test_the_demo_brings_its_own_services_and_proves_itself() -> None:
    ended = await projector("demo", "--exit", "--orders", ORDERS, "--shop-orders", SHOPS)
    assert all_is_well(proved(ended))
    assert "Started PostgreSQL and Kafka (tansu)" in ended.out
    assert re.search(r"3 +│ order.payment_failed │ compensating asks for cancel", ended.out)
    assert re.search(r"4 +│ order.cancelled +│ ended", ended.out)
    assert "What to try next" in ended.out


@pytest.mark.apache_kafka
async def test_the_demo_uses_the_services_it_is_given_and_disturbs_nothing_there(
    kafka_bootstrap: str, database_url: str, kafka_admin: AIOKafkaAdminClient
) -> None:
    given = {"KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap, "DATABASE_URL": database_url}
    first = await projector("demo", "--exit", "--orders", ORDERS, "--shop-orders", SHOPS, **given)
    assert all_is_well(proved(first))
    assert "Started nothing" in first.out
    connection = await asyncpg.connect(database_url)
    try:
        orders = await connection.fetchval("SELECT count(*) FROM read_model.order_summary")
        again = await projector("demo", "--exit", "--orders", ORDERS, "--shop-orders", SHOPS, "--seed", "7", **given)
        assert all_is_well(proved(again))
        assert "The database holds orders already; using a new one" in again.out
        assert await connection.fetchval("SELECT count(*) FROM read_model.order_summary") == orders
        assert not await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname LIKE 'projector_demo_%'")
    finally:
        await connection.close()
    assert [topic for topic in await kafka_admin.list_topics() if "demo" in topic] == []


@pytest.fixture(scope="module")
def sent() -> Stream:
    return demo_stream(100, topic="orders.events").shuffled(seed=1)


@pytest_asyncio.fixture
async def fed(database_url: str, sent: Stream) -> AsyncIterator[Engine]:
    """The stream, applied."""
    async with engine(database_url) as made:
        for one in sent.deliveries:
            headers: dict[str, Any] = {name: value.decode() for name, value in one.headers}
            made.append(one.value, key=one.key, **headers)
        await made.run()
        yield made


async def verdict(connection: Connection, settled: reference.Settled) -> tuple[int, dict[str, int]]:
    """The demo's exit code, and the number of differences by what has any."""
    checks = await proof.prove(connection, settled)
    code = report(Console(quiet=True), checks, [])
    return code, {check.name: len(check.differences) for check in checks if check.differences}


TAMPERING = {
    "UPDATE projector.orders SET customer_email = 'x' WHERE order_id = 'o42-000007'": {"order_summary": 1},
    "UPDATE projector.orders SET last_event_at = last_event_at + interval '1 microsecond' "
    "WHERE order_id = 'o42-000007'": {"order_summary": 1},
    "UPDATE projector.ledger SET data = '{}' WHERE order_id = 'o42-000007' AND version = 1": {"order_timeline": 1},
    "UPDATE projector.product_sales_daily SET revenue = revenue + 0.0001 "
    "WHERE (sku, day, currency) = (SELECT sku, day, currency FROM read_model.product_sales_daily LIMIT 1)": {
        "product_sales_daily": 1
    },
    "UPDATE projector.customer_summary SET orders = orders - 1 "
    "WHERE (customer_id, currency) = (SELECT customer_id, currency FROM read_model.customer_summary LIMIT 1)": {
        "customer_summary": 1
    },
    "UPDATE projector.fulfilment_queue SET ready_since = ready_since - interval '1 second' "
    "WHERE order_id = (SELECT min(order_id) FROM projector.fulfilment_queue)": {"fulfilment_queue": 1},
    "DELETE FROM projector.fulfilment_queue WHERE order_id = (SELECT min(order_id) FROM projector.fulfilment_queue)": {
        "fulfilment_queue": 1
    },
    "DELETE FROM projector.ledger WHERE order_id = 'o42-000007' AND version = 1": {
        "order_timeline": 1,
        "processed_events": 1,
    },
    "INSERT INTO projector.ledger (event_uuid, source_no, version, occurred_at, order_id, event_type) "
    "SELECT gen_random_uuid(), source_no, 999, now(), order_id, 'order.odd' FROM projector.ledger LIMIT 1": {
        "order_timeline": 1,
        "processed_events": 1,
    },
    "DELETE FROM projector.dead_letters WHERE id = (SELECT min(id) FROM projector.dead_letters)": {"dead_letters": 1},
    "UPDATE projector.dead_letters SET reason = 'invalid_history' "
    "WHERE id = (SELECT min(id) FROM projector.dead_letters)": {"dead_letters": 2},
    "INSERT INTO projector.parked_events (event_uuid, source_no, order_id, version, event_id, event_source, "
    'event_type, occurred_at, topic, partition, "offset", "timestamp", headers) '
    "VALUES (gen_random_uuid(), 1, 'x', 2, 'e', 's', 't', now(), 't', 0, 0, 0, '{}')": {"parked_events": 1},
}


async def test_an_order_that_nobody_placed_is_found_in_every_read_model_it_is_in(fed: Engine, sent: Stream) -> None:
    settled = sent.settled()
    events = settled.applied.pop("o42-000007")
    async with fed.pool.acquire() as connection:
        code, found = await verdict(connection, settled)
    assert code == 1
    assert found["order_summary"] == 1
    assert found["order_timeline"] == found["processed_events"] == len(events)
    assert {"customer_summary", "product_sales_daily"} < set(found)


async def test_the_proof_finds_nothing_where_nothing_is_wrong(fed: Engine, sent: Stream) -> None:
    async with fed.pool.acquire() as connection:
        assert await verdict(connection, sent.settled()) == (0, {})


@pytest.mark.parametrize(("tampering", "found"), TAMPERING.items(), ids=lambda value: str(value)[:60])
async def test_the_proof_finds_a_single_wrong_value(
    fed: Engine, sent: Stream, tampering: str, found: dict[str, int]
) -> None:
    async with fed.pool.acquire() as connection:
        assert (await connection.execute(tampering)).endswith(" 1")
        assert await verdict(connection, sent.settled()) == (1, found)
