"""A copy of the read models as of a moment, in a schema of its own: from the journal here, from the log beside it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from itertools import takewhile
from typing import Any

import pytest
import pytest_asyncio

from consumer import reference
from consumer.rebuild.as_of import schema_of
from consumer.rebuild.journal_source import FromJournal
from consumer.rebuild.log_source import FromLog
from consumer.rebuild.run import Rebuild
from consumer.rebuild.terms import From, Options, Outcome
from runtime.settings import Settings
from schemas.errors import Refused
from testkit.plugin import MakeTopic
from tests.support.engine import Engine, engine
from tests.support.fleet import settings_for, working
from tests.support.streams import Stream, demo_stream, publish

pytestmark = pytest.mark.apache_kafka


@pytest_asyncio.fixture
async def settings(kafka_bootstrap: str, database_url: str, make_topic: MakeTopic) -> Settings:
    return settings_for(kafka_bootstrap, database_url, await make_topic(partitions=3))


@pytest_asyncio.fixture
async def fed(database_url: str) -> AsyncIterator[Engine]:
    async with engine(database_url) as made:
        yield made


async def applied(settings: Settings) -> Stream:
    [topic] = settings.topics
    stream = demo_stream(120, 8, topic=topic)
    ends = await publish(settings.kafka_bootstrap_servers, topic, stream)
    async with working(settings) as worker:
        await worker.caught_up(ends)
    return stream


def histories(stream: Stream, until: datetime) -> dict[str, list[dict[str, Any]]]:
    """What had happened by then, of each order: as far as its versions go without one that came later."""
    cut = {
        order: list(takewhile(lambda event: reference.instant(event["time"]) <= until, events))
        for order, events in stream.settled().applied.items()
    }
    return {order: events for order, events in cut.items() if events}


def middle(stream: Stream) -> datetime:
    moments = sorted(reference.instant(e["time"]) for events in stream.settled().applied.values() for e in events)
    return moments[len(moments) // 2]


async def rows(fed: Engine, schema: str, name: str) -> list[dict[str, Any]]:
    found = await fed.fetch(f"SELECT * FROM {schema}.{name}")
    for row in found:
        for column in ("lines", "shipping_address", "data"):
            if isinstance(row.get(column), str):
                row[column] = json.loads(row[column], parse_float=Decimal)
    return found


async def copy(settings: Settings, source: From, schema: str) -> Outcome:
    return await Rebuild(settings, source, Options(processes=0, copy=schema)).run()


@pytest.mark.parametrize("kind", ["journal", "log"])
async def test_a_copy_has_what_had_happened_by_then(settings: Settings, fed: Engine, kind: str) -> None:
    stream = await applied(settings)
    until = middle(stream)
    schema = schema_of(until)
    source = FromJournal(settings, 30, until) if kind == "journal" else FromLog(settings, None, 0, 30, 50, until)
    before = await fed.fetch("SELECT 'projector.orders'::regclass::oid AS oid")
    assert (await copy(settings, source, schema)).state == "copied"
    expected = reference.read_models(histories(stream, until))
    assert 0 < len(expected["order_timeline"]) < sum(map(len, stream.settled().applied.values()))
    for name, key in reference.KEYS.items():
        assert reference.compare(expected[name], await rows(fed, schema, name), key) == [], name
    assert await fed.fetch("SELECT 'projector.orders'::regclass::oid AS oid") == before
    assert await fed.value("SELECT to_regnamespace('projector_shadow') IS NULL")
    assert not await fed.value("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'touched%'")
    with pytest.raises(Refused, match=f"there is a schema {schema} already"):
        await copy(settings, source, schema)


def test_a_copy_is_named_after_its_moment() -> None:
    assert schema_of(datetime.fromisoformat("2026-03-01T14:00:05+02:00")) == "as_of_20260301t120005z"
