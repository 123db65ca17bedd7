"""Rebuilds that are killed at any point, or cut off: what is live stands, and the next run goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any

import psutil
import pytest
import pytest_asyncio

from consumer.rebuild import bulk, records, shadow
from consumer.rebuild import rollback as rollback_module
from consumer.rebuild.leftovers import cancel
from consumer.rebuild.rollback import rollback
from schemas.errors import ProjectorError, Unavailable
from testkit.deadline import eventually
from tests.support.engine import TOPIC, placed
from tests.support.rebuilding import POINTS, Beside, Shop, Steps, journal, leftovers, rebuild, shop
from tests.support.rebuilds import settings_of
from tests.support.redelivery import confirmed
from tests.support.streams import demo_stream

BEFORE_THE_SWAP = (*POINTS, "rebuild_align", "rebuild_swap_locked", "rebuild_swap")


class Killed(BaseException):
    """As by SIGKILL: nothing of what the process would have said or done on errors is said or done."""


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


# Killed


@pytest.mark.parametrize("point", BEFORE_THE_SWAP)
async def test_killed_before_the_swap_the_live_tables_stand_and_the_next_run_goes_on(
    ours: Shop, database_url: str, point: str
) -> None:
    beside, live = Beside(ours, 71, orders=80), await oid(ours)
    await beside.more(60)
    with pytest.raises(Killed):
        await rebuild(database_url, at={"rebuild_catch_up": beside.more, point: killed})
    assert await oid(ours) == live
    assert await ours.differences() == []
    await beside.more()  # whether or not it is noted
    done = await rebuild(database_url, at=Steps(dict.fromkeys(POINTS, beside.more)))
    assert (done.state, done.resumed, done.comparison.counts) == ("swapped", True, {})
    assert await ours.differences() == []
    assert await leftovers(ours.fed) == []
    assert await states(ours) == ["swapped"]


async def test_killed_right_after_the_swap_the_next_run_begins_anew(ours: Shop, database_url: str) -> None:
    with pytest.raises(Killed):
        await rebuild(database_url, at={"rebuild_swapped": killed})
    assert await ours.differences() == []
    await ours.tell(placed("new"))
    done = await rebuild(database_url)
    assert (done.state, done.resumed) == ("swapped", False)
    assert await ours.differences() == []
    assert await leftovers(ours.fed) == []
    assert await states(ours) == ["swapped", "swapped"]


class KilledAt(Steps):
    """Killed the nth time that the bulk has done a range."""

    def __init__(self, nth: int) -> None:
        super().__init__({})
        self._nth = nth

    async def reach(self, name: str) -> None:
        await super().reach(name)
        if self.reached.count("rebuild_bulk") == self._nth:
            raise Killed


async def test_ranges_that_are_done_are_not_done_again(ours: Shop, database_url: str) -> None:
    await ours.give(demo_stream(40, 72, topic=TOPIC).deliveries)
    total = Steps({})
    await rebuild(database_url, at=total, swap=False)
    ranges = total.reached.count("rebuild_bulk")
    assert ranges > 6
    await cancel(settings_of(database_url))
    for nth in (1, 3):
        with pytest.raises(Killed):
            await rebuild(database_url, at=KilledAt(nth))
    last = Steps({})
    done = await rebuild(database_url, at=last)
    assert last.reached.count("rebuild_bulk") == ranges - 4
    assert (done.state, done.events) == ("swapped", await ours.fed.value("SELECT count(*) FROM projector.ledger"))
    assert await ours.differences() == []


async def test_a_range_whose_rows_are_in_is_done_and_one_whose_are_not_is_not(ours: Shop, database_url: str) -> None:
    """Rows and the note are one transaction: killed after each range, every range is in once."""
    await ours.give(demo_stream(30, 73, topic=TOPIC).deliveries)
    while True:
        try:
            done = await rebuild(database_url, at=KilledAt(1))
        except Killed:
            rows = "SELECT count(*) = count(DISTINCT order_id) FROM projector_shadow.orders"
            assert await ours.fed.value(rows)
        else:
            break
    assert (done.state, done.comparison.counts) == ("swapped", {})
    assert await ours.differences() == []


@pytest.mark.parametrize("what", ["copy", "done"])
async def test_a_range_that_was_not_finished_is_done_again_as_a_whole(
    ours: Shop, database_url: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when its rows are in, or when they are noted to be, but before it could commit."""
    await ours.give(demo_stream(30, 75, topic=TOPIC).deliveries)
    owner: Any = bulk.Rows if what == "copy" else bulk
    right, times = getattr(owner, what), 0

    async def then_killed(*arguments: Any) -> None:
        nonlocal times
        times += 1
        await right(*arguments)
        if times == 3:
            raise Killed

    monkeypatch.setattr(owner, what, then_killed)
    with pytest.raises(Killed):
        await rebuild(database_url)
    assert await ours.fed.value("SELECT count(*) FROM projector_shadow.parts WHERE events IS NOT NULL") == 2
    done = await rebuild(database_url, swap=False)
    assert (done.state, done.resumed, done.comparison.counts) == ("kept", True, {})
    assert (await rebuild(database_url)).state == "swapped"
    assert await ours.differences() == []


@pytest.mark.parametrize("wanted", [("fulfilment_queue",), ("order_summary",)])
async def test_who_wants_something_else_begins_anew(ours: Shop, database_url: str, wanted: tuple[str, ...]) -> None:
    with pytest.raises(Killed):
        await rebuild(database_url, "customer_summary", at={"rebuild_indexed": killed})
    done = await rebuild(database_url, *wanted)
    assert (done.state, done.resumed) == ("swapped", False)
    assert await states(ours) == ["failed", "swapped"]
    assert await ours.differences() == []
    assert await leftovers(ours.fed) == []


async def test_what_is_left_of_another_rebuild_is_not_gone_on_with(ours: Shop, database_url: str) -> None:
    assert (await rebuild(database_url, swap=False)).state == "kept"
    with pytest.raises(Killed):
        await rebuild(database_url, "customer_summary", at={"rebuild_swapped": killed})
    done = await rebuild(database_url)
    assert (done.state, done.resumed) == ("swapped", False)


@pytest.mark.parametrize("point", ["rebuild_align", "rebuild_swap_locked", "rebuild_swap"])
async def test_a_way_back_that_was_killed_is_gone_once_more(
    ours: Shop, database_url: str, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rebuild(database_url)
    with monkeypatch.context() as patch:
        patch.setattr(rollback_module, "Failpoints", lambda _: Steps({point: killed}))
        patch.setattr(records, "end", _nothing)
        patch.setattr(shadow, "release", _nothing)
        with pytest.raises(Killed):
            await rollback(settings_of(database_url))
    await ours.tell(placed("new"), confirmed("b", 2))
    assert await ours.differences() == []
    assert (await rollback(settings_of(database_url))).state == "swapped"
    assert await ours.differences() == []
    assert [one for one in await leftovers(ours.fed) if not one.startswith("a running record")] == []


@pytest.mark.parametrize("then", ["rollback", "cancel"])
async def test_a_way_back_that_was_killed_is_on_record_as_ended(
    ours: Shop, database_url: str, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rebuild(database_url)
    with monkeypatch.context() as patch:
        patch.setattr(rollback_module, "Failpoints", lambda _: Steps({"rebuild_align": killed}))
        patch.setattr(records, "end", _nothing)
        patch.setattr(shadow, "release", _nothing)
        with pytest.raises(Killed):
            await rollback(settings_of(database_url))
    await (rollback(settings_of(database_url)) if then == "rollback" else cancel(settings_of(database_url)))
    assert await leftovers(ours.fed) == []


async def _nothing(*_: Any) -> None:
    """What a process that was killed does on errors."""


# Cut off


async def _end_session(ours: Shop, how: str) -> None:
    ends = f"SELECT count({how}(pid)) FROM pg_stat_activity WHERE application_name = 'projector-rebuild'"
    assert await ours.fed.value(f"{ends} AND datname = current_database()") > 0


@pytest.mark.parametrize("point", ["rebuild_bulk", "rebuild_indexed", "rebuild_compare", "rebuild_swap"])
async def test_cut_off_from_the_database_it_says_so_and_the_next_run_goes_on(
    ours: Shop, database_url: str, point: str
) -> None:
    with pytest.raises(Unavailable):
        await rebuild(database_url, at={point: partial(_end_session, ours, "pg_terminate_backend")})
    await ours.tell(placed("new"))
    done = await rebuild(database_url)
    assert (done.state, done.resumed) == ("swapped", True)
    assert await ours.differences() == []
    assert await leftovers(ours.fed) == []


async def test_what_postgresql_refuses_is_on_record_and_nothing_is_noted_any_more(
    ours: Shop, database_url: str
) -> None:
    async def full() -> None:
        await ours.fed.pool.execute("DROP TABLE projector_shadow.fulfilment_queue")

    with pytest.raises(ProjectorError):
        await rebuild(database_url, at={"rebuild_bulk": full})
    assert await states(ours) == ["failed"]
    assert [one for one in await leftovers(ours.fed) if not one.startswith("a schema")] == []


def _builders() -> list[psutil.Process]:
    """The processes that build ranges for this one."""
    found = []
    for one in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # it may end at this moment
            if "--multiprocessing-fork" in " ".join(one.cmdline()):
                found.append(one)
    return found


async def test_a_process_that_is_killed_ends_the_run_and_the_next_one_goes_on(ours: Shop, database_url: str) -> None:
    await ours.give(demo_stream(60, 74, topic=TOPIC).deliveries)

    async def kill() -> None:
        for one in _builders()[:1]:  # of ranges that get done before the kill is noticed there may be nobody left
            one.kill()

    with pytest.raises(Unavailable, match="a process of the rebuild was killed"):
        await rebuild(database_url, at={"rebuild_bulk": kill}, processes=2, source=journal(20))
    await eventually(lambda: _builders() == [])
    assert await states(ours) == ["failed"]
    done = await rebuild(database_url, processes=2, source=journal(20))
    assert (done.state, done.resumed, done.comparison.counts) == ("swapped", True, {})
    assert await ours.differences() == []
    await eventually(lambda: _builders() == [])
