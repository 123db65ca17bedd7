"""`projector prune` from outside: what it says, how it ends, and that it may be killed."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.engine import placed
from tests.support.fleet import Ended, projector
from tests.support.rebuilding import Shop, shop
from tests.support.redelivery import confirmed


@pytest_asyncio.fixture
async def ours(database_url: str) -> AsyncIterator[Shop]:
    async with shop(database_url) as made:
        await made.tell(placed("a"), confirmed("a", 2), placed("b"))
        yield made


async def prune(url: str, *arguments: str, **settings: str) -> Ended:
    ended = await projector("prune", *arguments, DATABASE_URL=url, **settings)
    assert "Traceback" not in ended.err
    return ended


async def test_it_says_what_it_would_do_and_does_it(ours: Shop, database_url: str) -> None:
    would = await prune(database_url, "--keep", "90d", "--unarchived", "--dry-run")
    assert (would.code, would.out) == (0, "3 events of 2 orders would be dropped, of 2 orders in all\n"), would.err
    done = await prune(database_url, "--keep", "13w", "--unarchived", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert (told["dry_run"], told["orders"], told["events"], told["orders_seen"]) == (False, 2, 3, 2)
    assert told["before"] < told["archived_until"]
    again = await prune(database_url, "--keep", "12h", "--unarchived")
    assert again.out == "0 events of 0 orders dropped, of 2 orders in all\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--unarchived",), "Missing option '--keep'"),
        (("--keep", "90d"), "either --archive or --unarchived"),
        (("--keep", "90d", "--unarchived", "--archive", "x"), "either --archive or --unarchived"),
        (("--keep", "90", "--unarchived"), "'90' is no span of time: 90d, 13w or 12h"),
        (("--keep", "0d", "--unarchived"), "'0d' is no span of time"),
        (("--keep", "9999999w", "--unarchived"), "longer than a hundred years"),
    ],
)
async def test_bad_usage_ends_with_2(ours: Shop, database_url: str, arguments: tuple[str, ...], said: str) -> None:
    ended = await prune(database_url, *arguments, COLUMNS="200")
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


async def test_killed_before_its_transaction_ends_nothing_is_dropped(ours: Shop, database_url: str) -> None:
    ended = await prune(database_url, "--keep", "90d", "--unarchived", PROJECTOR_FAILPOINTS="prune_dropped=kill9")
    assert ended.code == -signal.SIGKILL
    assert await ours.fed.value("SELECT count(*) FROM projector.ledger") == 3
    done = await prune(database_url, "--keep", "90d", "--unarchived")
    assert done.out.startswith("3 events of 2 orders dropped")
