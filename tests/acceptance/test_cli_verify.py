"""`projector verify` from outside: what it says, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest
import pytest_asyncio

from testkit.deadline import eventually
from testkit.plugin import MakeTopic
from tests.support.engine import attributes, placed
from tests.support.fleet import ROOT, Ended, environment, projector, settings_for
from tests.support.verification import World

pytestmark = pytest.mark.apache_kafka

QUEUED = [placed("a"), attributes("a", 2, "order.confirmed"), attributes("a", 3, "order.delivered")]


class Commands(World):
    def places(self) -> dict[str, str]:
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.settings.kafka_bootstrap_servers,
            "DATABASE_URL": self.settings.database_url.get_secret_value(),
            "PROJECTOR_TOPICS": self.topic,
        }

    async def command(self, *arguments: str, **settings: str) -> Ended:
        ended = await projector("verify", *arguments, **{**self.places(), **settings})
        assert "Traceback" not in ended.err
        return ended


@pytest_asyncio.fixture
async def world(kafka_bootstrap: str, database_url: str, make_topic: MakeTopic) -> Commands:
    made = Commands(settings_for(kafka_bootstrap, database_url, await make_topic(partitions=2)))
    await made.tell(*QUEUED, placed("b", customer="c-2"), partition=1)
    await made.apply(0, 1)
    return made


async def test_it_ends_with_0_where_every_row_is_equal(world: Commands) -> None:
    by_log = await world.command()
    assert (by_log.code, by_log.err) == (0, "")
    lines = by_log.out.splitlines()
    assert lines[0] == "Live against a recomputation from Kafka's log"
    assert lines[-2:] == ["4 records of the log read", "Every row is equal."]
    counts = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]
    assert ["order_timeline", "4", "4", "0"] in counts
    by_journal = await world.command("--source", "journal", KAFKA_BOOTSTRAP_SERVERS="localhost:1")
    assert by_journal.code == 0, by_journal.err
    assert "dead_letters" not in by_journal.out
    one = await world.command("--order", "a", "--json")
    assert one.code == 0, one.err
    assert {check["name"]: check["found"] for check in json.loads(one.out)["checks"]}["order_timeline"] == 3


async def test_it_ends_with_1_and_names_what_differs(world: Commands) -> None:
    await world.execute("UPDATE projector.orders SET carrier = 'nobody' WHERE order_id = 'b'")
    ended = await world.command()
    assert ended.code == 1, ended.err
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in ended.out.splitlines() if "│" in line]
    assert ["order_summary", "2", "2", "1"] in rows
    assert ["b", "carrier", "none", "nobody"] in rows
    assert ended.out.splitlines()[-1] == "  projector rebuild --order b"
    told = json.loads((await world.command("--json", "--source", "journal", "order_summary")).out)
    assert (told["equal"], told["differences"], told["source"]) == (False, 1, "journal")
    [check] = told["checks"]
    assert check["first"] == [{"key": ["b"], "column": "carrier", "expected": None, "found": "nobody"}]


async def test_what_it_says_to_mend_it_mends_it(world: Commands) -> None:
    await world.execute("UPDATE projector.orders SET carrier = 'nobody' WHERE order_id = 'b'")
    said = (await world.command()).out.splitlines()[-1].split()
    mended = await projector(*said[1:], **world.places())
    assert mended.code == 0, mended.err
    assert (await world.command()).code == 0


async def test_a_sample_says_its_seed_and_is_the_same_for_the_same(world: Commands) -> None:
    drawn = json.loads((await world.command("--sample", "50", "--json")).out)
    again = ["--sample", "50", "--seed", str(drawn["sample"]["seed"]), "--json"]
    assert json.loads((await world.command(*again)).out) == drawn


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing",), "there is no read model nothing: there are order_summary,"),
        (("--sample", "0"), "a percentage above 0, up to 100"),
        (("--sample", "many"), "a percentage above 0, up to 100"),
        (("--seed", "1"), "--seed is for --sample"),
        (("--order", "a", "--source", "log"), "--order looks in the journal"),
        (("--order", "z"), "nothing is known of an order z"),
        (("--source", "hearsay"), "is not one of"),
    ],
)
async def test_what_it_cannot_take_ends_with_2_and_says_why(
    world: Commands, arguments: tuple[str, ...], said: str
) -> None:
    ended = await world.command(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in " ".join(ended.err.replace("│", " ").split())


async def test_a_dependency_that_is_away_ends_it_with_3(world: Commands) -> None:
    for away in ({"KAFKA_BOOTSTRAP_SERVERS": "localhost:1"}, {"DATABASE_URL": "postgresql://localhost:1/x"}):
        ended = await world.command(**away)
        assert ended.code == 3, ended.err


async def test_told_to_stop_it_leaves_no_scratch_files(world: Commands, tmp_path: Path) -> None:
    """They hold what orders hold."""
    settings = environment(**{**world.places(), "TMPDIR": str(tmp_path)})
    async with world.pool() as pool, pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE projector.product_sales_daily")  # it waits for this, before it reads
        verify = (sys.executable, "-m", "cli", "verify")
        process = await asyncio.create_subprocess_exec(*verify, cwd=ROOT, env=settings)
        await eventually(lambda: waits(world))
        assert [name.startswith("projector-verify-") for name in os.listdir(tmp_path)] == [True]
        os.kill(process.pid, signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 130
    assert os.listdir(tmp_path) == []


async def waits(world: World) -> bool:
    """Whether a verification waits for a lock."""
    return bool(
        await world.fetch(
            "SELECT FROM pg_stat_activity WHERE application_name = 'projector-verify' "
            "AND datname = current_database() AND wait_event_type = 'Lock'"
        )
    )
