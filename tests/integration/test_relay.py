"""The relay against a real Kafka: what it sends, in which order, and that one of several does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from producer.relay import Relay
from producer.relay_observation import RelayObservation
from producer.waking import waking
from runtime.failpoints import Failpoints
from runtime.settings import Settings
from schemas.connection import Connection
from schemas.events import Event, StoredRecord
from schemas.wire import decode
from testkit.deadline import eventually
from tests.support.archives import in_log
from tests.support.commands import command
from tests.support.write_side import Till, settings_of, till


@pytest_asyncio.fixture
async def ours(database_url: str) -> AsyncIterator[Till]:
    async with till(database_url) as found:
        yield found


@pytest.fixture
def settings(database_url: str, kafka_bootstrap: str, topic: str) -> Settings:
    return settings_of(database_url, kafka_bootstrap, topic)


@asynccontextmanager
async def relaying(settings: Settings, owner: str = "one", failpoints: str = "") -> AsyncIterator[RelayObservation]:
    """A relay at work, until the block ends."""
    told, stop = RelayObservation(), asyncio.Event()
    running = asyncio.ensure_future(Relay(settings, owner, told, Failpoints(failpoints)).run(stop))
    try:
        yield told
    finally:
        stop.set()
        await asyncio.wait_for(running, 30)


async def records(settings: Settings) -> list[StoredRecord]:
    """What is in the topic, partition by partition."""
    return [record for log in (await in_log(settings)).values() for record in log]


async def sent(settings: Settings, many: int) -> list[StoredRecord]:
    async def there() -> list[StoredRecord]:
        found = await records(settings)
        assert len(found) >= many, len(found)
        return found

    return await eventually(there, 30)


async def test_a_record_is_the_event_in_cloudevents_binary_mode(ours: Till, settings: Settings) -> None:
    await ours.ask("place", "o-1", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    async with relaying(settings):
        [record] = await sent(settings, 1)
    [row] = await ours.fetch("SELECT *, payload::text AS text FROM write_model.outbox")
    assert (record.key, record.value) == (b"o-1", row["text"].encode())
    assert dict(record.headers) == {
        "id": str(row["id"]).encode(),
        "ce_id": str(row["id"]).encode(),
        "ce_type": b"order.placed",
        "ce_source": b"/shop/orders",
        "ce_specversion": b"1.0",
        "ce_time": row["time"].encode(),
        "ce_subject": b"o-1",
        "ce_sequence": b"1",
        "traceparent": b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    event = decode(record)
    assert isinstance(event, Event)
    assert (event.order_id, event.version, event.time) == ("o-1", 1, row["occurred_at"])


async def test_everything_goes_out_once_and_in_version_order(ours: Till, settings: Settings) -> None:
    orders = [f"o-{n}" for n in range(40)]
    await asyncio.gather(*(ours.tell(order, "place", "confirm", "pay", "ship") for order in orders[:20]))
    async with relaying(settings) as told:
        await asyncio.gather(*(ours.tell(order, "place", "confirm", "pay", "ship") for order in orders[20:]))
        found = await sent(settings, 160)
        await eventually(lambda: told.sent == 160)
    seen: dict[str, list[int]] = {}
    for record in found:
        event = decode(record)
        assert isinstance(event, Event)
        seen.setdefault(event.order_id, []).append(event.version)
    assert seen == {order: [1, 2, 3, 4] for order in orders}


@pytest.mark.parametrize("point", ["relay_before_send", "relay_after_send", "relay_before_mark"])
async def test_a_relay_that_fails_at_any_point_begins_where_it_marked(
    ours: Till, settings: Settings, point: str
) -> None:
    await ours.tell("o-1", "place", "confirm")
    first = Relay(settings, "one", RelayObservation(), Failpoints(f"{point}=raise"))
    with pytest.raises(RuntimeError, match=point):
        await asyncio.wait_for(first.run(asyncio.Event()), 30)
    async with relaying(settings, "two"):
        await ours.tell("o-1", "pay")
        found = await sent(settings, 3 if point == "relay_before_send" else 5)
    versions = [event.version for event in map(decode, found) if isinstance(event, Event)]
    assert versions == ([1, 2, 3] if point == "relay_before_send" else [1, 2, 1, 2, 3])


async def test_of_two_relays_one_sends_and_the_other_takes_over(ours: Till, settings: Settings) -> None:
    async with relaying(settings, "two") as second, relaying(settings) as first:
        await eventually(lambda: first.leading or second.leading)
        await ours.tell("o-1", "place")
        await eventually(lambda: first.sent + second.sent == 1)
        assert first.leading != second.leading
        # Its session is gone, and with it the lock; the leader hears of it at its next word.
        await ours.fetch(
            "SELECT pg_terminate_backend(l.pid) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) "
            "WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database() "
            "AND a.application_name = 'projector-relay'"
        )
        await ours.tell("o-1", "confirm")
        await eventually(lambda: first.sent + second.sent >= 2, 30)
    found = [event.version for event in map(decode, await records(settings)) if isinstance(event, Event)]
    assert found[:2] == [1, 2]


async def sent_so_many(told: RelayObservation, many: int) -> None:
    await eventually(lambda: told.sent == many, 10, 0.001)


async def test_a_woken_relay_is_quick_and_one_that_nobody_wakes_looks_by_itself(ours: Till, settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    async with relaying(settings) as told, waking(ours.pool) as wake:
        await ours.tell("o-1", "place")
        await eventually(lambda: told.sent == 1, 10)
        took = []
        for version in range(2, 30):
            began = loop.time()
            await ours.ask("add_line", "o-1", {"line": {"sku": "b", "quantity": 1, "unit_price": "1"}})
            wake()
            await sent_so_many(told, version)
            took.append(loop.time() - began)
        print(f"commit to acknowledgement, ms: {sorted(round(one * 1000, 1) for one in took)}")
        assert sorted(took)[len(took) // 2] < 0.5  # unwoken it would be up to a second


async def test_what_is_held_up_is_told(ours: Till, settings: Settings, monkeypatch: Any) -> None:
    monkeypatch.setattr("producer.relay._MEASURE", 0.05)
    async with ours.pool.acquire() as connection, relaying(settings) as told:
        held = connection.transaction()
        await held.start()
        await connection.fetchval("SELECT pg_current_xact_id()")
        await ours.tell("o-1", "place")
        value = told.registry.get_sample_value
        await eventually(lambda: (value("projector_outbox_held_up_seconds") or 0) > 0.2)
        assert value("projector_outbox_pending_rows") == 1
        await held.rollback()
        await eventually(lambda: told.sent == 1)
        await eventually(lambda: value("projector_outbox_pending_rows") == 0)
        assert value("projector_outbox_held_up_seconds") == 0


async def test_what_rolled_back_is_never_sent(ours: Till, settings: Settings) -> None:
    async with relaying(settings) as told:
        async with ours.pool.acquire() as connection:
            undone = connection.transaction()
            await undone.start()
            await ours.handler.execute(connection, command("place", "undone"))
            await undone.rollback()
        await ours.tell("done", "place")
        await eventually(lambda: told.sent == 1)
    assert [record.key for record in await records(settings)] == [b"done"]


async def test_old_keys_go_and_partitions_come_even_if_somebody_was_in_the_way(
    ours: Till, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producer.relay._MEASURE", 0.05)
    monkeypatch.setattr("producer.relay._KEYS_AT_ONCE", 2)
    await ours.tell("o-1", "place")
    for n in range(5):
        await ours.ask("confirm", f"nobody-{n}", key=f"k-{n}")
    async with ours.pool.acquire() as connection, ours.pool.acquire() as other:
        await connection.execute("UPDATE write_model.idempotency_keys SET created_at = now() - interval '3 days'")
        await connection.execute("DROP TABLE " + await connection.fetchval(_LAST_DAY))
        held = other.transaction()
        await held.start()
        await other.execute("LOCK TABLE write_model.outbox IN ROW EXCLUSIVE MODE")
        async with relaying(settings) as told:
            await eventually(lambda: told.sent == 1)  # it goes on publishing
            await eventually(lambda: _none(connection, "write_model.idempotency_keys"))
            await held.rollback()
            await eventually(lambda: connection.fetchval(f"SELECT to_regclass(({_LAST_DAY})) IS NOT NULL"))


_LAST_DAY = "SELECT 'write_model.outbox_' || to_char((now() AT TIME ZONE 'UTC')::date + 7, 'YYYYMMDD')"


async def _none(connection: Connection, table: str) -> bool:
    return not await connection.fetchval(f"SELECT count(*) FROM {table}")
