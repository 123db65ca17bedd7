"""The outbox read to the end: nothing that commits late is skipped, and an order's events come in version order."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from random import Random

import asyncpg
import pytest
import pytest_asyncio

from producer.answers import Accepted
from producer.reader import Reader
from schemas.connection import Connection
from schemas.errors import LostRace, OutOfPlace, Refused
from testkit.deadline import eventually
from tests.support.commands import command
from tests.support.write_side import Till, till

LINE = {"line": {"sku": "b", "title": None, "quantity": 1, "unit_price": "1"}}


@pytest_asyncio.fixture
async def ours(database_url: str) -> AsyncIterator[Till]:
    async with till(database_url, size=16) as found:
        yield found


async def reader(connection: Connection, most: int = 100, name: str = "test") -> Reader:
    found = Reader(name, most)
    await found.take(connection, "me")
    return found


async def now(connection: Connection, one: Reader) -> list[tuple[str, int]]:
    """All that can be read at this moment, marked page by page."""
    found: list[tuple[str, int]] = []
    while (page := await one.page(connection)).rows:
        found += [(row.aggregateid, row.sequence) for row in page.rows]
        await one.mark(connection, page.after)
        one.moved(page.after)
    return found


async def read(connection: Connection, one: Reader) -> list[tuple[str, int]]:
    """All that there is, as soon as no transaction on this server, be it another test's, holds it up."""
    found: list[tuple[str, int]] = []

    async def all_of_it() -> bool:
        found.extend(await now(connection, one))
        return one.held_for == 0

    await eventually(all_of_it, interval=0.01)
    return found


class RolledBack(Exception):
    """A writer's change of mind."""


@pytest.mark.parametrize("most", [1, 2, 3, 100])
async def test_everything_is_read_once_whatever_the_page(ours: Till, most: int) -> None:
    async with ours.pool.acquire() as connection:
        one = await reader(connection, most)
        assert await read(connection, one) == []
        await ours.tell("a", "place", "confirm", "pay")
        await ours.tell("b", "place")
        assert await read(connection, one) == [("a", 1), ("a", 2), ("a", 3), ("b", 1)]
        await ours.tell("b", "confirm")
        assert await read(connection, one) == [("b", 2)]
        assert await read(connection, one) == []


async def test_what_is_not_marked_comes_again(ours: Till) -> None:
    await ours.tell("a", "place", "confirm", "pay")
    async with ours.pool.acquire() as connection:
        one = await reader(connection, 2)
        page = await one.page(connection)
        assert (await one.page(connection)).rows == page.rows
        await one.mark(connection, page.after)
        one.moved(page.after)
        again = await reader(connection, 2)
        assert await read(connection, again) == [("a", 3)]


async def test_a_row_that_commits_late_is_not_skipped(ours: Till) -> None:
    async with ours.pool.acquire() as connection, ours.pool.acquire() as late:
        one = await reader(connection)
        held = late.transaction()
        await held.start()
        await ours.handler.execute(late, command("place", "late"))
        await ours.tell("early", "place")
        assert await now(connection, one) == []  # it was written after one that is still open
        assert one.held_for > 0
        await held.commit()
        assert await read(connection, one) == [("late", 1), ("early", 1)]


async def test_a_transaction_that_has_written_elsewhere_holds_up_what_came_after_it(ours: Till) -> None:
    async with ours.pool.acquire() as connection, ours.pool.acquire() as other:
        one = await reader(connection)
        held = other.transaction()
        await held.start()
        await other.fetchval("SELECT pg_current_xact_id()")
        await ours.tell("a", "place")
        assert await now(connection, one) == []
        await held.rollback()
        assert await read(connection, one) == [("a", 1)]


async def test_who_began_early_and_got_the_order_late_is_read_late(ours: Till) -> None:
    """A begins, C begins, B changes the order and commits, A changes it and commits; C is open still. A's number is
    below the horizon, B's is not, and B's event comes first."""
    await ours.tell("o", "place")
    async with (
        ours.pool.acquire() as connection,
        ours.pool.acquire() as a,
        ours.pool.acquire() as c,
        ours.pool.acquire() as b,
    ):
        one = await reader(connection)
        assert await read(connection, one) == [("o", 1)]
        begun = {}
        for session in (a, c, b):
            begun[session] = session.transaction()
            await begun[session].start()
            await session.fetchval("SELECT pg_current_xact_id()")
        assert await ours.handler.execute(b, command("add_line", "o", LINE)) == Accepted("o", 2)
        await begun[b].commit()
        assert await ours.handler.execute(a, command("confirm", "o")) == Accepted("o", 3)
        await begun[a].commit()
        seen = await now(connection, one)
        await begun[c].rollback()
        assert seen + await read(connection, one) == [("o", 2), ("o", 3)]


async def test_a_leader_that_was_followed_by_another_marks_nothing(ours: Till) -> None:
    await ours.tell("a", "place")
    async with ours.pool.acquire() as connection:
        old = await reader(connection)
        page = await old.page(connection)
        new = await reader(connection)
        with pytest.raises(OutOfPlace):
            await old.mark(connection, page.after)
        with pytest.raises(OutOfPlace):
            await old.hold(connection)
        await new.hold(connection)
        assert await read(connection, new) == [("a", 1)]


async def test_two_readers_have_a_place_each(ours: Till) -> None:
    await ours.tell("a", "place")
    async with ours.pool.acquire() as connection:
        one, other = await reader(connection), await reader(connection, name="other")
        assert await read(connection, one) == await read(connection, other) == [("a", 1)]


async def test_a_place_from_another_servers_past_is_refused(ours: Till) -> None:
    async with ours.pool.acquire() as connection:
        await reader(connection)
        await connection.execute(
            "UPDATE write_model.outbox_readers SET done_below = '1000000000', window_end = '1000000000'"
        )
        one = await reader(connection)
        with pytest.raises(Refused, match="restored from a dump"):
            await one.page(connection)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_many_writers_that_are_slow_to_commit_and_some_that_roll_back(ours: Till, seed: int) -> None:
    random = Random(seed)
    orders = [f"o-{n}" for n in range(6)]
    committed: set[tuple[str, int]] = set()
    for order in orders:
        await ours.tell(order, "place")
        committed.add((order, 1))

    async def write(random: Random) -> None:
        for _ in range(25):
            order = random.choice(orders)
            try:
                async with ours.pool.acquire() as session, session.transaction():
                    if random.random() < 0.5:
                        await session.fetchval("SELECT pg_current_xact_id()")  # its number, long before the lock
                        await asyncio.sleep(random.random() * 0.02)
                    answer = await ours.handler.execute(session, command("add_line", order, LINE))
                    await asyncio.sleep(random.random() * 0.02)
                    if random.random() < 0.05:
                        raise RolledBack  # noqa: TRY301  it is what leaves the transaction
            except (RolledBack, LostRace):
                continue
            assert isinstance(answer, Accepted)
            committed.add((order, answer.version))

    async with ours.pool.acquire() as connection:
        one = await reader(connection, most=7)
        writing = asyncio.gather(*(write(Random(random.random())) for _ in range(8)))
        seen: list[tuple[str, int]] = []
        while not writing.done():
            seen += await now(connection, one)
            await asyncio.sleep(0)  # the writers' turn
        await writing
        seen += await read(connection, one)
    assert len(seen) == len(set(seen))
    assert set(seen) == committed
    versions = defaultdict(list)
    for order, version in seen:
        versions[order].append(version)
    assert {order: sorted(there) for order, there in versions.items()} == versions


async def test_days_that_are_read_go_and_others_stay(ours: Till) -> None:
    await ours.tell("a", "place")
    await ours.fetchval("SELECT write_model.outbox_make_partitions(7)")
    async with ours.pool.acquire() as connection:
        await connection.execute(
            "CREATE TABLE write_model.outbox_20200101 PARTITION OF write_model.outbox "
            "FOR VALUES FROM ('2020-01-01Z') TO ('2020-01-02Z')"
        )
        await connection.execute(
            "INSERT INTO write_model.outbox "
            "(id, aggregateid, type, sequence, source, time, payload, occurred_at, created_at) "
            "VALUES (gen_random_uuid(), 'old', 'order.placed', 1, '/s', 't', '{}', now(), '2020-01-01T12:00Z')"
        )
        dropping = "SELECT write_model.outbox_drop_partitions(7)"
        assert await connection.fetch(dropping) == []  # nobody has read it
        one = await reader(connection)
        assert await connection.fetch(dropping) == []
        assert await read(connection, one) == [("a", 1), ("old", 1)]
        assert [row[0] for row in await connection.fetch(dropping)] == ["outbox_20200101"]
        assert await ours.outbox() == [("a", 1, "order.placed")]
        with pytest.raises(asyncpg.InvalidParameterValueError):
            await connection.fetch("SELECT write_model.outbox_drop_partitions(0)")
