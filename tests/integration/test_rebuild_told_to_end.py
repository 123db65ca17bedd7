"""Rebuilds that are told to end, or meet each other, or a migration: one at a time, and whoever was told to ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from consumer.install import Installed, _no_rebuild, install
from consumer.read_models import READ_MODELS
from consumer.rebuild import rollback as rollback_module
from consumer.rebuild.journal_source import FromJournal
from consumer.rebuild.leftovers import cancel, drop_old
from consumer.rebuild.rollback import rollback
from consumer.rebuild.run import Rebuild
from consumer.rebuild.terms import Options
from examples.adding_a_read_model.orders_by_country import OrdersByCountry
from schemas.errors import ProjectorError, Refused
from testkit.deadline import eventually
from tests.support.engine import placed
from tests.support.rebuilding import POINTS, Shop, Steps, leftovers, rebuild, shop
from tests.support.rebuilds import settings_of
from tests.support.redelivery import confirmed


class Killed(BaseException):
    """As by SIGKILL."""


async def killed() -> None:
    raise Killed


@pytest_asyncio.fixture
async def ours(database_url: str) -> AsyncIterator[Shop]:
    async with shop(database_url) as made:
        await made.tell(placed("a"), placed("b"), placed("c", customer="c-2"), confirmed("a", 2))
        yield made


async def states(ours: Shop) -> list[str]:
    """What the records say of all rebuilds, the oldest first."""
    return [row["state"] for row in await ours.fed.fetch("SELECT state FROM projector.rebuilds ORDER BY id")]


async def oid(ours: Shop) -> int:
    found: int = await ours.fed.value("SELECT 'projector.orders'::regclass::oid::bigint")
    return found


# Told to end


@pytest.mark.parametrize("point", POINTS)
async def test_cancelled_at_any_step_nothing_is_left(ours: Shop, database_url: str, point: str) -> None:
    live = await oid(ours)
    said: list[str | None] = []

    async def asked() -> None:
        said.append(await cancel(settings_of(database_url)))
        await ours.tell(placed(f"new-{len(said)}"))

    done = await rebuild(database_url, at={point: asked})
    assert (done.state, said[0], await oid(ours)) == ("cancelled", "asked", live)
    assert await leftovers(ours.fed) == []
    assert await states(ours) == ["cancelled"]
    assert await ours.differences() == []
    assert (await rebuild(database_url)).resumed is False


@pytest.mark.parametrize("point", ["rebuild_created", "rebuild_bulk", "rebuild_compare", "rebuild_swap"])
async def test_after_a_kill_cancelling_drops_what_is_left(ours: Shop, database_url: str, point: str) -> None:
    with pytest.raises(Killed):
        await rebuild(database_url, at={point: killed})
    assert await leftovers(ours.fed) != []
    assert await cancel(settings_of(database_url)) == "dropped"
    assert await leftovers(ours.fed) == []
    assert await states(ours) == ["cancelled"]
    assert await cancel(settings_of(database_url)) is None


async def test_after_a_kill_behind_the_swap_cancelling_drops_what_is_left(ours: Shop, database_url: str) -> None:
    with pytest.raises(Killed):
        await rebuild(database_url, at={"rebuild_swapped": killed})
    assert await cancel(settings_of(database_url)) == "dropped"
    assert await leftovers(ours.fed) == []
    assert await states(ours) == ["swapped"]
    assert (await rollback(settings_of(database_url))).state == "swapped"


async def test_a_way_back_that_is_told_to_end_ends(
    ours: Shop, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rebuild(database_url)
    live, said = await oid(ours), []

    async def asked(*_: Any) -> None:
        said.append(await cancel(settings_of(database_url)))

    monkeypatch.setattr(rollback_module, "_catch_up", asked)
    try:
        await rollback(settings_of(database_url))
    except ProjectorError:
        assert await oid(ours) == live
    else:
        assert said == [None]
    assert await leftovers(ours.fed) == []


@pytest.mark.parametrize("point", POINTS)
async def test_told_to_stop_it_keeps_what_it_has_and_the_next_run_goes_on(
    ours: Shop, database_url: str, point: str
) -> None:
    stop, settings = asyncio.Event(), settings_of(database_url)

    async def stopped() -> None:
        stop.set()

    made = Rebuild(settings, FromJournal(settings, 7), Options(processes=0), stop=stop)
    made._failpoints = Steps({point: stopped})
    done = await made.run()
    assert done.state == "stopped"
    assert await ours.fed.value("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'touched%'") == 0
    await ours.tell(placed("new"), confirmed("b", 2))
    again = await rebuild(database_url)
    assert (again.state, again.resumed) == ("swapped", True)
    assert await ours.differences() == []
    assert await leftovers(ours.fed) == []


@pytest.mark.parametrize("how", ["cancelled", "stopped"])
async def test_told_to_end_beside_a_long_reader_it_ends_soon(ours: Shop, database_url: str, how: str) -> None:
    settings, stop, steps = settings_of(database_url), asyncio.Event(), Steps({})
    made = Rebuild(settings, FromJournal(settings, 7), Options(processes=0), stop=stop)
    made._failpoints = steps
    async with ours.fed.pool.acquire() as reader:
        async with reader.transaction():
            await reader.fetch("SELECT * FROM read_model.order_summary")
            rebuilding = asyncio.ensure_future(made.run())
            await eventually(lambda: steps.reached.count("rebuild_align") > 1, 30)
            if how == "cancelled":
                assert await cancel(settings) == "asked"
            else:
                stop.set()
            await asyncio.wait([rebuilding], timeout=10)
            ended = rebuilding.done()
        assert (await rebuilding).state == how
    assert ended
    assert await ours.fed.value(NOTING) == 0
    done = await rebuild(database_url)
    assert (done.state, done.resumed) == ("swapped", how == "stopped")
    assert await leftovers(ours.fed) == []
    assert await ours.differences() == []


NOTING = "SELECT count(*) FROM pg_trigger WHERE tgfoid = 'projector.touch_orders()'::regprocedure AND tgenabled <> 'D'"


async def test_how_many_events_were_folded_stays_on_record(ours: Shop, database_url: str) -> None:
    await rebuild(database_url, swap=False)
    await rebuild(database_url)
    assert await ours.fed.value("SELECT events FROM projector.rebuilds") == len(ours.meant)


# One at a time


@pytest.mark.parametrize("point", ["rebuild_created", "rebuild_compare", "rebuild_swap"])
async def test_a_second_one_is_refused_and_the_first_goes_on(ours: Shop, database_url: str, point: str) -> None:
    settings = settings_of(database_url)
    others: list[Callable[[], Awaitable[Any]]] = [
        partial(rebuild, database_url),
        partial(rebuild, database_url, "fulfilment_queue"),
        partial(rollback, settings),
        partial(drop_old, settings),
    ]

    async def meet() -> None:
        for other in others:
            with pytest.raises(Refused, match="another rebuild runs in this database"):
                await other()

    await rebuild(database_url)
    done = await rebuild(database_url, at={point: meet})
    assert (done.state, await states(ours)) == ("swapped", ["swapped", "swapped"])
    assert await ours.differences() == []
    assert await leftovers(ours.fed) == []


async def migrated(ours: Shop, *more: Any) -> Installed:
    async with ours.fed.pool.acquire() as connection:
        return await install(connection, (*READ_MODELS, *more))


@pytest.mark.parametrize("point", ["rebuild_created", "rebuild_compare"])
async def test_a_migration_waits_for_the_end_of_a_rebuild_if_it_has_something_to_do(
    ours: Shop, database_url: str, point: str
) -> None:
    async def meet() -> None:
        assert await migrated(ours) == Installed([], [], [])
        with pytest.raises(Refused, match="a rebuild runs in this database"):
            await migrated(ours, OrdersByCountry())
        async with ours.fed.pool.acquire() as connection, connection.transaction():
            await connection.execute("DELETE FROM projector.schema_migrations WHERE version = '0002'")
            with pytest.raises(Refused, match="a rebuild runs in this database"):
                await install(connection)
            await connection.execute("INSERT INTO projector.schema_migrations VALUES ('0002')")

    assert (await rebuild(database_url, at={point: meet})).state == "swapped"
    assert (await migrated(ours, OrdersByCountry())).read_models == ["orders_by_country"]
    assert await ours.differences() == []


async def test_a_rebuild_is_refused_while_a_migration_runs(ours: Shop, database_url: str) -> None:
    async with ours.fed.pool.acquire() as connection, _no_rebuild(connection, READ_MODELS):
        with pytest.raises(Refused, match="another rebuild runs in this database"):
            await rebuild(database_url)
    assert (await rebuild(database_url)).state == "swapped"
