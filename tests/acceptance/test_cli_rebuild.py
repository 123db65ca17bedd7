"""`projector rebuild` and `projector rollback` from outside: what they say, what they do, and how they end."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest
import pytest_asyncio

from testkit.deadline import eventually
from tests.faults.evidence import stands_at
from tests.support.engine import TOPIC, placed
from tests.support.fleet import Ended, Member, projector
from tests.support.rebuilding import Shop, leftovers, shop
from tests.support.redelivery import confirmed
from tests.support.streams import demo_stream

JOURNAL = ("--source", "journal")
ALL = ["orders", "customer_summary", "product_sales_daily", "fulfilment_queue"]


@pytest_asyncio.fixture
async def ours(database_url: str) -> AsyncIterator[Shop]:
    async with shop(database_url) as made:
        await made.give(demo_stream(60, 81, topic=TOPIC).deliveries)
        await made.tell(placed("a"), confirmed("a", 2))
        yield made


@pytest_asyncio.fixture
async def url(ours: Shop, database_url: str) -> str:
    return database_url


async def run(url: str, *arguments: str, command: str = "rebuild", **settings: Any) -> Ended:
    ended = await projector(command, *arguments, DATABASE_URL=url, **settings)
    assert "Traceback" not in ended.err, ended.err
    return ended


async def told(url: str, *arguments: str, code: int = 0, **more: Any) -> dict[str, Any]:
    """What it says to machines."""
    ended = await run(url, *arguments, "--json", **more)
    assert ended.code == code, ended.err
    found: dict[str, Any] = json.loads(ended.out)
    return found


async def test_it_rebuilds_and_says_how_far_it_is_and_goes_back_and_drops(ours: Shop, url: str) -> None:
    done = await run(url, *JOURNAL)
    assert done.code == 0, done.err
    assert done.out.splitlines()[0].startswith(f"{', '.join(ALL)}: ")
    assert done.out.splitlines()[-1] == "swapped in"
    lines = [json.loads(line) for line in done.err.splitlines() if line.startswith('{"phase"')]
    phases = [line["phase"] for line in lines]
    assert list(dict.fromkeys(phases)) == ["bulk", "catch_up", "compare", "swap"]
    assert all({"events", "expected", "events_per_s", "seconds_left"} <= line.keys() for line in lines)
    assert await ours.differences() == []
    back = await told(url, command="rollback")
    assert (back["state"], {*back["tables"]}) == ("rolled_back", {*ALL})
    assert await ours.differences() == []
    assert {*(await told(url, "--drop-old"))["dropped"]} == {*ALL}
    assert (await run(url, "--drop-old")).out == "there were no old tables\n"
    assert (await run(url, command="rollback")).code == 2
    assert await leftovers(ours.fed) == []


async def test_machines_are_told_what_was_made_of_how_much(ours: Shop, url: str) -> None:
    events = await ours.fed.value("SELECT count(*) FROM projector.ledger")
    found = await told(url, *JOURNAL, "--workers", "2")
    assert (found["state"], found["rebuilt"], found["events"]) == ("swapped", ALL, events)
    assert (found["resumed"], found["differences"]) == (False, {})
    assert (await told(url, *JOURNAL, "--changed"))["state"] == "unchanged"
    assert (await told(url, "customer_summary", *JOURNAL))["rebuilt"] == ["customer_summary"]


async def test_what_differs_ends_with_1_and_a_table_of_differences(ours: Shop, url: str) -> None:
    await ours.fed.pool.execute("UPDATE projector.orders SET carrier = 'nobody\x1b[2J' WHERE order_id = 'a'")
    await ours.fed.pool.execute("DELETE FROM projector.fulfilment_queue")
    ready = (await told(url, *JOURNAL, code=1))["differences"]
    assert ready["orders"]["rows"] == 1
    assert ready["orders"]["first"][0]["key"] == ["a"]
    assert not ready["orders"]["expected"]
    ended = await run(url, *JOURNAL)
    assert ended.code == 1
    assert "orders: 1 row differs" in ended.out
    assert r"  a  carrier: live nobody\x1b[2J, rebuilt None" in ended.out
    assert "row: live missing, rebuilt there" in ended.out
    assert "--accept-differences" in ended.out.splitlines()[-1]
    assert (await run(url, *JOURNAL, "--accept-differences")).code == 0
    assert await ours.differences() == []


async def test_one_that_is_kept_can_be_swapped_in_or_dropped(ours: Shop, url: str) -> None:
    assert (await told(url, *JOURNAL, "--no-swap"))["state"] == "kept"
    again = await told(url, *JOURNAL)
    assert (again["state"], again["resumed"]) == ("swapped", True)
    assert (await run(url, *JOURNAL, "--no-swap")).code == 0
    assert (await told(url, "--cancel"))["cancelled"] == "dropped"
    assert (await run(url, "--cancel")).out == "there is no rebuild\n"
    assert await leftovers(ours.fed) == []


async def test_one_order_is_mended(ours: Shop, url: str) -> None:
    await ours.fed.pool.execute("UPDATE projector.orders SET status = 'odd' WHERE order_id = 'a'")
    found = await told(url, "--order", "a")
    assert (found["order_id"], found["version"], found["columns"][0]) == ("a", 2, "status")
    assert await ours.differences() == []
    nobody = await run(url, "--order", "nobody's")
    assert (nobody.code, nobody.out) == (2, "")
    assert "there is no order nobody's" in nobody.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("custmer_summary", *JOURNAL), "there is no read model custmer_summary"),
        (("order_timeline", *JOURNAL), "order_timeline is the journal itself"),
        (("--order", "a", "--cancel"), "exclude each other"),
        (("customer_summary", "--drop-old"), "exclude each other"),
        (("--changed", "customer_summary", "--order", "a"), "exclude each other"),
        (("--source", "archive"), "--source archive and --archive go together"),
        (("--workers", "0"), "--workers"),
        (("--throttle", "0"), "--throttle"),
    ],
)
async def test_what_it_cannot_take_ends_with_2_and_says_why(url: str, arguments: tuple[str, ...], said: str) -> None:
    ended = await run(url, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in " ".join(ended.err.replace("│", " ").split())


async def test_a_database_that_is_away_ends_with_3(unused_tcp_port: int) -> None:
    for command in ("rebuild", "rollback"):
        ended = await run(f"postgresql://nobody@127.0.0.1:{unused_tcp_port}/x", command=command)
        assert (ended.code, ended.out) == (3, "")


# While one runs


def start(url: str, *arguments: str, failpoints: str = "") -> Member:
    """One that stays at a point of it."""
    return Member(
        ("-m", "cli", "rebuild", *JOURNAL, *arguments), {"DATABASE_URL": url, "PROJECTOR_FAILPOINTS": failpoints}
    )


async def test_a_second_one_and_a_way_back_end_with_2_and_one_that_is_told_to_end_with_1(ours: Shop, url: str) -> None:
    """A reader's transaction keeps the first one from swapping for as long as this takes."""
    first = start(url)
    try:
        async with ours.fed.pool.acquire() as reader, reader.transaction():
            await reader.fetch("SELECT * FROM read_model.order_summary")
            await eventually(lambda: "swap_again" in first.said(), 60)
            others = [(JOURNAL, "rebuild"), ((), "rollback"), (("--drop-old",), "rebuild"), ((), "migrate")]
            *met, migrated = await asyncio.gather(*(run(url, *arguments, command=name) for arguments, name in others))
            for ended in met:
                assert (ended.code, ended.out) == (2, "")
                assert "another rebuild runs in this database" in ended.err
            assert (migrated.code, migrated.out) == (0, "already current\n")
            assert (await run(url, "--cancel")).out == "told to end\n"
        assert await first.ended(60) == 1
        assert "cancelled; nothing is left of it" in first.said()
    finally:
        first.close()
    assert await leftovers(ours.fed) == []
    assert await ours.differences() == []


async def test_sigterm_ends_it_soon_and_the_next_run_goes_on(ours: Shop, url: str) -> None:
    first = start(url, "--workers", "2", failpoints="rebuild_indexed=sleep(1)")
    try:
        await eventually(lambda: stands_at(first, "rebuild_indexed"), 30)
        first.signal(signal.SIGTERM)
        assert await first.ended() == 1
        assert "run it again, and it goes on" in first.said()
    finally:
        first.close()
    again = await told(url, *JOURNAL)
    assert (again["state"], again["resumed"]) == ("swapped", True)
    assert await ours.differences() == []


async def test_killed_with_its_processes_at_work_none_of_them_is_left(ours: Shop, url: str) -> None:
    first = start(url, "--workers", "2", failpoints="rebuild_bulk=block(20)")
    try:
        await eventually(lambda: stands_at(first, "rebuild_bulk"), 30)
        children = psutil.Process(first.pid).children(recursive=True)
        assert len(children) >= 2
        first.signal(signal.SIGKILL)
        await eventually(lambda: not any(child.is_running() for child in children), 10)
    finally:
        first.close()
    assert await ours.differences() == []
    await ours.tell(placed("new"))
    again = await told(url, *JOURNAL, "--workers", "2")
    assert (again["state"], again["resumed"]) == ("swapped", True)
    assert await ours.differences() == []
    assert await leftovers(ours.fed) == []
