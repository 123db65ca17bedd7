"""The real Debezium on our outbox, by configuration alone: its records are the relay's, and a consumer takes either."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from runtime.embedded.postgres import EmbeddedPostgres
from runtime.settings import Settings
from schemas.events import Event, StoredRecord
from schemas.wire import decode
from testkit.databases import apply_migrations, create_database, fresh_name
from testkit.deadline import eventually
from testkit.plugin import MakeTopic
from tests.integration.test_relay import records, relaying
from tests.support.commands import place
from tests.support.debezium import debezium
from tests.support.fleet import working
from tests.support.write_side import Till, settings_of, shown, till

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STARTS = 120  # seconds for a JVM, and Connect, and Debezium, on a busy machine


@pytest.fixture(scope="module")
def logical() -> Iterator[str]:
    """A PostgreSQL whose log can be decoded."""
    with EmbeddedPostgres(throwaway=True, settings={"wal_level": "logical"}) as server:
        yield server.url()


@pytest_asyncio.fixture
async def ours(logical: str) -> AsyncIterator[tuple[Till, str]]:
    url = await create_database(logical, fresh_name("debezium"))
    await apply_migrations(url)
    async with till(url) as found:
        yield found, url
        # Slots are the whole server's, and Debezium leaves its own for the next time.
        await eventually(lambda: _let_go(found), 30)


async def shop(ours: Till, name: str) -> int:
    """Some orders of every kind, with all that JSON may hold; how many events."""
    odd = {
        **place(f'Ærø "{name}"', price="0.10", quantity=10**20, sku="a\\b\n"),
        "shipping_address": {"city": "Zürich", "zip": "1.50", "": "\t{}"},
    }
    await ours.ask("place", f"{name} 1/ø", odd, traceparent=TRACE)
    await ours.tell(f"{name}-2", "place", "confirm", "pay", "ship", "fail_delivery", "cancel", "refund")
    await ours.tell(f"{name}-3", "place", "confirm", "fail_payment", "pay", "ship", "deliver")
    return 14


async def sent(settings: Settings, many: int, log: Path) -> dict[str, StoredRecord]:
    """By event id, as soon as there are so many."""

    async def there() -> dict[str, StoredRecord]:
        found = {(dict(record.headers)["id"] or b"").decode(): record for record in await records(settings)}
        assert len(found) >= many, (len(found), last_words(log))
        return found

    return await eventually(there, STARTS, 0.5)


def last_words(log: Path) -> str:
    """What Debezium has logged last."""
    return log.read_text("utf-8", "replace")[-3000:]


def said(record: StoredRecord) -> dict[str, Any]:
    """Key, value and headers, but for what Debezium says of itself."""
    headers = {name: value for name, value in record.headers if not name.startswith("__debezium")}
    return {"key": record.key, "value": record.value, **headers}


async def test_debeziums_records_are_the_relays(
    ours: tuple[Till, str], kafka_bootstrap: str, make_topic: MakeTopic, tmp_path: Path
) -> None:
    shop_till, url = ours
    by_relay = settings_of(url, kafka_bootstrap, await make_topic(3))
    by_debezium = settings_of(url, kafka_bootstrap, await make_topic(3))
    with debezium(kafka_bootstrap, url, by_debezium.topics[0], tmp_path) as log:
        await eventually(lambda: _streams(shop_till), STARTS, 0.2)
        many = await shop(shop_till, "o")
        async with relaying(by_relay):
            theirs, relays = await asyncio.gather(sent(by_debezium, many, log), sent(by_relay, many, log))
    assert theirs.keys() == relays.keys()
    for event_id, record in relays.items():
        without = {name: value for name, value in said(theirs[event_id]).items() if value is not None}
        assert without == said(record)
        event, other = decode(record), decode(theirs[event_id])
        assert isinstance(event, Event)
        assert isinstance(other, Event)
        assert event._replace(record=record) == other._replace(record=record)


async def test_both_at_once_make_the_same_read_models(
    ours: tuple[Till, str], kafka_bootstrap: str, make_topic: MakeTopic, tmp_path: Path
) -> None:
    shop_till, url = ours
    topic = await make_topic(4)
    settings = settings_of(url, kafka_bootstrap, topic, group_id=f"group-{topic}")
    with debezium(kafka_bootstrap, url, topic, tmp_path) as log:
        await eventually(lambda: _streams(shop_till), STARTS, 0.2)
        async with working(settings) as worker, relaying(settings):
            many = sum([await shop(shop_till, f"o{n}") for n in range(10)])
            await shown(shop_till.pool)

            async def twice() -> bool:
                assert len(await records(settings)) >= 2 * many, last_words(log)
                return True

            await eventually(twice, STARTS, 0.5)
            await eventually(lambda: worker.observation.counts["duplicate"] == many, 30)
            await shown(shop_till.pool)


async def _let_go(ours: Till) -> bool:
    await ours.fetch("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active")
    return not await ours.fetch("SELECT FROM pg_replication_slots")


async def _streams(ours: Till) -> bool:
    """Whether Debezium follows the outbox by now."""
    return bool(await ours.fetchval("SELECT EXISTS (SELECT FROM pg_replication_slots WHERE active)"))
