"""`projector replay` from outside: what it says, what it does, and how it ends."""

from __future__ import annotations

import json

import asyncpg
import pytest

from testkit.plugin import MakeTopic
from tests.support.events import record
from tests.support.fleet import Ended, projector
from tests.support.streams import deliveries_of, publish


class Commands:
    def __init__(self, bootstrap: str, database_url: str, topic: str) -> None:
        self.database_url = database_url
        self._places = {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "DATABASE_URL": database_url,
            "PROJECTOR_TOPICS": topic,
        }

    async def replay(self, *arguments: str) -> Ended:
        ended = await projector("replay", *arguments, **self._places)
        assert "Traceback" not in ended.err
        return ended

    async def orders(self) -> int:
        connection = await asyncpg.connect(self.database_url)
        try:
            found: int = await connection.fetchval("SELECT count(*) FROM read_model.order_summary")
            return found
        finally:
            await connection.close()


@pytest.fixture
async def topic_name(make_topic: MakeTopic) -> str:
    return await make_topic(partitions=2)


@pytest.fixture
def commands(kafka_bootstrap: str, database_url: str, topic_name: str) -> Commands:
    return Commands(kafka_bootstrap, database_url, topic_name)


async def test_it_says_what_it_would_do_and_does_it_when_told_to(
    commands: Commands, kafka_bootstrap: str, topic_name: str
) -> None:
    await publish(kafka_bootstrap, topic_name, deliveries_of([record(order=f"o-{n}") for n in range(4)]), partition=1)
    judged = await commands.replay("--from", "1", "--partition", "1")
    assert judged.code == 0, judged.err
    assert judged.out.splitlines() == [
        f"{topic_name}/1: offsets 1 to 3",
        "3 records read",
        "  applied: 3 (would be)",
        "dry run; nothing was changed; --execute to do it",
    ]
    assert await commands.orders() == 0
    done = await commands.replay("--from", "1", "--partition", "1", "--execute", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["read"] == [{"topic": topic_name, "partition": 1, "from": 1, "to": 4}]
    assert (told["executed"], told["records"], told["outcomes"]["applied"]) == (True, 3, 3)
    assert await commands.orders() == 3
    again = await commands.replay("--all", "--execute")
    assert again.out.splitlines()[1:] == ["4 records read", "  applied: 1", "  duplicate: 3"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say which records"),
        (("--from", "yesterday"), "neither an offset nor a time"),
        (("--to", "2026-03-01T12:00:00"), "needs its offset from UTC"),
        (("--partition", "5"), "has no partition 5"),
    ],
)
async def test_what_it_cannot_take_ends_with_2_and_says_why(
    commands: Commands, arguments: tuple[str, ...], said: str
) -> None:
    ended = await commands.replay(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in " ".join(ended.err.replace("│", " ").split())
