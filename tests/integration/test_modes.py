"""The three modes: when a command is shown, and that switching between them loses nothing and doubles nothing."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import count
from random import Random
from typing import Any

import pytest
import pytest_asyncio

from examples.placing_orders.shop import main
from producer.answers import Accepted, Refused
from producer.outbox import OutboxRow, headers
from tests.integration.test_relay import relaying
from tests.support.commands import place
from tests.support.engine import Engine, engine
from tests.support.fleet import ROOT, working
from tests.support.rebuilding import journal, rebuild
from tests.support.write_side import Till, not_shown, settings_of, shown, till

STEPS = ("confirm", "pay", "ship", "fail_delivery", "ship", "deliver", "refund")


@pytest_asyncio.fixture
async def local(database_url: str) -> AsyncIterator[Till]:
    async with till(database_url, local=True) as found:
        yield found


@pytest_asyncio.fixture
async def eventual(database_url: str) -> AsyncIterator[Till]:
    async with till(database_url) as found:
        yield found


@pytest_asyncio.fixture
async def fed(database_url: str) -> AsyncIterator[Engine]:
    async with engine(database_url) as found:
        yield found


async def deliver(ours: Till, fed: Engine) -> Counter[str]:
    """All of the outbox into a worker's hands, as the relay sends it; what became of it."""
    rows = await ours.fetch(
        'SELECT position, id::text AS id, aggregateid, type, sequence, source, specversion, "time", traceparent, '
        "payload::text AS payload FROM write_model.outbox ORDER BY position"
    )
    for row in (OutboxRow(*row.values()) for row in rows):
        said: dict[str, Any] = {name: text.decode() for name, text in headers(row)}
        fed.append(row.payload.encode(), key=row.aggregateid.encode(), **said)
    return (await fed.run()).counts


async def test_local_first_shows_a_command_when_it_is_answered(local: Till) -> None:
    for kind in ("place", *STEPS):
        await local.tell("o-1", kind)
        assert await not_shown(local.pool) == []
    await local.tell("o-2", "place")
    rows = await local.fetch("SELECT sum(orders)::int AS orders FROM read_model.customer_summary")
    assert rows[0]["orders"] == 2


async def test_eventual_shows_it_when_it_has_come_through_kafka(eventual: Till, fed: Engine) -> None:
    await eventual.tell("o-1", "place", "confirm")
    assert await not_shown(eventual.pool) != []
    await deliver(eventual, fed)
    assert await not_shown(eventual.pool) == []


async def test_the_copy_that_comes_back_is_a_duplicate(local: Till, fed: Engine) -> None:
    await local.tell("o-1", "place", *STEPS)
    before = await local.fetch("SELECT * FROM read_model.order_summary")
    assert await deliver(local, fed) == {"duplicate": 1 + len(STEPS)}
    assert await local.fetch("SELECT * FROM read_model.order_summary") == before
    ids = "SELECT array_agg(id ORDER BY id) FROM "
    published = await local.fetchval(f"{ids} (SELECT id::text AS id FROM write_model.outbox) AS o")
    assert await local.fetchval(f"{ids} (SELECT event_id AS id FROM projector.processed_events) AS p") == published
    assert await not_shown(local.pool) == []


async def test_what_is_refused_or_rolled_back_is_not_shown(local: Till, database_url: str) -> None:
    await local.tell("o-1", "place")
    await local.ask("ship", "o-1")
    async with till(database_url, local=True, failpoints="command_before_commit=raise") as broken:
        with pytest.raises(RuntimeError):
            await broken.ask("confirm", "o-1")
    assert await not_shown(local.pool) == []


async def test_local_first_shows_what_eventual_commands_have_left_on_its_way(
    local: Till, eventual: Till, fed: Engine
) -> None:
    await eventual.tell("o-1", "place", "confirm", "pay")
    await local.tell("o-1", "ship")
    assert await not_shown(local.pool) == []
    assert await deliver(local, fed) == {"duplicate": 4}
    assert await not_shown(local.pool) == []


async def test_where_the_outbox_has_lost_them_it_waits_for_them(local: Till, eventual: Till, fed: Engine) -> None:
    await eventual.tell("o-1", "place", "confirm")
    gone = await local.fetch("SELECT * FROM write_model.outbox ORDER BY position")
    async with local.pool.acquire() as connection:
        await connection.execute("CREATE TABLE kept AS SELECT * FROM write_model.outbox")
        await connection.execute("DELETE FROM write_model.outbox")
    await local.tell("o-1", "pay")
    assert len(gone) == 2
    assert await local.fetchval("SELECT count(*) FROM projector.parked_events") == 1
    async with local.pool.acquire() as connection:
        await connection.execute("INSERT INTO write_model.outbox OVERRIDING SYSTEM VALUE SELECT * FROM kept")
    await deliver(local, fed)
    assert await not_shown(local.pool) == []


async def test_commands_on_one_customer_and_product_do_not_stop_each_other(local: Till) -> None:
    await asyncio.gather(*(local.tell(f"o-{n}", "place", "confirm", "pay") for n in range(60)))
    assert await not_shown(local.pool) == []
    rows = await local.fetch("SELECT orders, units FROM read_model.product_sales_daily")
    assert [tuple(row) for row in rows] == [(60, 120)]
    assert await local.fetchval("SELECT count(DISTINCT shard) FROM projector.product_sales_daily") > 1


@pytest.mark.parametrize("seed", [1, 2])
async def test_switching_modes_under_load_loses_nothing_and_doubles_nothing(
    database_url: str, kafka_bootstrap: str, topic: str, seed: int
) -> None:
    """Writers that each go by another mode for every command, with a relay and a worker at work all the time."""
    print(f"seed {seed}")
    random = Random(seed)
    settings = settings_of(database_url, kafka_bootstrap, topic, group_id=f"group-{topic}")
    async with AsyncExitStack() as stack:
        modes = [
            await stack.enter_async_context(till(database_url)),
            await stack.enter_async_context(till(database_url, local=True)),
        ]
        await stack.enter_async_context(working(settings))
        await stack.enter_async_context(relaying(settings))

        async def write(name: str, random: Random) -> None:
            for n in range(12):
                order = f"{name}-{n}"
                for kind in ("place", *random.choice([STEPS, STEPS[:3], ("cancel",), ("confirm", "pay", "cancel")])):
                    data: Any = place(f"c-{random.randrange(3)}") if kind == "place" else ...
                    answer = await random.choice(modes).ask(kind, order, data)
                    assert isinstance(answer, Accepted), answer

        await asyncio.gather(*(write(f"o-{n}", Random(random.random())) for n in range(8)))
        await shown(modes[0].pool)
        assert len(await modes[0].fetch("SELECT FROM write_model.orders")) == 96


async def test_a_rebuild_beside_local_first_commands_loses_none(local: Till, database_url: str) -> None:
    await asyncio.gather(*(local.tell(f"before-{n}", "place", "confirm") for n in range(40)))
    ends = asyncio.Event()

    async def write(name: str) -> None:
        for n in count():
            await local.tell(f"{name}-{n}", "place", "confirm", "pay", "cancel", "refund")
            if ends.is_set():
                break

    writing = asyncio.gather(*(write(f"meanwhile-{n}") for n in range(4)))
    try:
        done = await rebuild(database_url, source=journal(5))
    finally:
        ends.set()
    await writing
    assert (done.state, done.comparison.counts) == ("swapped", {})
    await local.tell("before-1", "pay")
    assert await not_shown(local.pool) == []


async def test_the_example_places_an_order_and_readers_see_it(
    local: Till, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    answers = await main()
    order = getattr(answers[0], "order_id", "")
    assert answers == [
        Accepted(order, 1),
        Accepted(order, 1, repeated=True),
        Refused(order, 1, "not_confirmed", "the order is not confirmed"),
        Accepted(order, 2),
        Accepted(order, 3),
        Accepted(order, 4),
    ]
    assert await not_shown(local.pool) == []
    page = (ROOT / "docs" / "write-side.md").read_text("utf-8")
    [shown_there] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert shown_there in (ROOT / "examples" / "placing_orders" / "shop.py").read_text("utf-8")
