"""The command line from outside: what it prints, for people and for machines, and how it ends."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from schemas.connection import Connection
from testkit.plugin import MakeTopic
from tests.support.events import Rec, record
from tests.support.fleet import Ended, projector, settings_for, working
from tests.support.streams import deliveries_of, publish

NOBODY = "127.0.0.1:1"
NO_DATABASE = f"postgresql://nobody@{NOBODY}/nothing"


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


def said(ended: Ended) -> Any:
    """The JSON that a command printed, alone on stdout."""
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


async def test_up_is_repeatable_and_down_ends_what_it_started() -> None:
    with TemporaryDirectory(prefix="projector-test-") as path:
        where = ("--directory", str(Path(path) / "stack"))
        try:
            first = said(await projector("up", *where, "--json"))
            again = await projector("up", *where)
            assert again.out.splitlines() == [f"{name}={value}" for name, value in first.items()]
            assert list(first) == ["KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL"]
            assert said(await projector("migrate", "--json", **first))["migrations"]
            assert said(await projector("simulate", "--orders", "2", "--json", **first))["orders"] == 2
            assert said(await projector("status", "--json", **first))["lag"] > 0
        finally:
            down = await projector("down", *where, "--json")
        assert said(down) == {"stopped": True}
        assert (await projector("down", *where)).out == "nothing was running\n"
        assert (await projector("migrate", **first)).code == 3


async def test_migrate_says_what_it_did_and_that_there_is_nothing_left(empty_database_url: str) -> None:
    first = await projector("migrate", DATABASE_URL=empty_database_url)
    assert first.code == 0, first.err
    assert "applied 0001_machinery" in first.out
    assert "made read model fulfilment_queue" in first.out
    again = await projector("migrate", DATABASE_URL=empty_database_url)
    assert (again.code, again.out) == (0, "already current\n")


async def test_four_migrations_at_once_are_one(empty_database_url: str) -> None:
    done = await asyncio.gather(*(projector("migrate", "--json", DATABASE_URL=empty_database_url) for _ in range(4)))
    found = [said(one) for one in done]
    assert Counter(name for one in found for name in one["read_models"]) == dict.fromkeys(
        ("order_summary", "order_timeline", "customer_summary", "product_sales_daily", "fulfilment_queue"), 1
    )
    assert set(Counter(name for one in found for name in one["migrations"]).values()) == {1}


@pytest.mark.parametrize("options", [(), ("--json",)])
async def test_migrate_finds_a_read_model_of_another_make_wrong(
    database_url: str, database: Connection, options: tuple[str, ...]
) -> None:
    await database.execute("UPDATE projector.read_models SET fingerprint = 'x' WHERE name = 'customer_summary'")
    ended = await projector("migrate", *options, DATABASE_URL=database_url)
    assert ended.code == 1
    assert "customer_summary" in ended.out
    looked = await projector("dead-letters", "list", "--json", DATABASE_URL=database_url)
    assert said(looked) == []  # the machinery can still be looked at


async def test_simulate_with_the_same_seed_sends_the_same(kafka_bootstrap: str, make_topic: MakeTopic) -> None:
    topic = await make_topic(partitions=2)
    settings = {"KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap, "PROJECTOR_TOPICS": topic}
    asked = ("--orders", "50", "--seed", "7", "--duplicates", "0.2", "--poison", "5", "--tombstones", "1")
    first = said(await projector("simulate", *asked, "--json", **settings))
    again = await projector("simulate", *asked, **settings)
    assert {**first, "records": 0} == {"topic": topic, "records": 0, "orders": 50, "seed": 7}
    assert again.out == f"{first['records']} records of 50 orders to {topic}\n"
    assert first["records"] > 250


async def test_simulate_makes_a_topic_that_is_not_there(kafka_bootstrap: str, kafka_admin: Any) -> None:
    topic = "test-made-by-simulate"
    settings = {"KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap, "PROJECTOR_TOPICS": topic}
    try:
        await projector("simulate", "--orders", "1", "--partitions", "3", **settings)
        [described] = await kafka_admin.describe_topics([topic])
        assert len(described["partitions"]) == 3
    finally:
        await kafka_admin.delete_topics([topic])


@pytest_asyncio.fixture
async def known(kafka_bootstrap: str, database_url: str, make_topic: MakeTopic) -> dict[str, str]:
    """Settings of a fleet that has applied an order, parked an event and buried two records, and has stopped."""
    topic = await make_topic(partitions=2)
    torn = Rec(key=b"a-key", value=b'{"torn": \xff')
    taken = record(type_="confirmed", version=1, order="o-1", id="other")
    sent = [record(order="o-1"), record(type_="shipped", version=3, order="o-2"), torn, taken]
    ends = await publish(kafka_bootstrap, topic, deliveries_of(sent), partition=1)
    async with working(settings_for(kafka_bootstrap, database_url, topic), "somebody") as worker:
        await worker.caught_up(ends)
    return {"KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap, "DATABASE_URL": database_url, "PROJECTOR_TOPICS": topic}


async def test_status_tells_machines_and_people_how_it_stands(known: dict[str, str]) -> None:
    await publish(
        known["KAFKA_BOOTSTRAP_SERVERS"], known["PROJECTOR_TOPICS"], deliveries_of([record(order="new")]), partition=0
    )
    found = said(await projector("status", "--json", **known))
    assert (found["lag"], found["parked"], found["parked_orders"]) == (1, 1, 1)
    assert found["dead_letters"] == {"unreadable": 1, "version_conflict": 1}
    assert found["staleness"] > 0
    assert [(one["partition"], one["lag"], one["next_offset"], one["end_offset"]) for one in found["partitions"]] == [
        (0, 1, 0, 1),
        (1, 0, 4, 4),
    ]
    shown = await projector("status", **known)
    assert shown.code == 0
    assert "parked 1 events of 1 orders" in shown.out
    assert "wait for longer" not in shown.out
    assert "1 unreadable, 1 version_conflict" in shown.out


async def test_status_says_what_waits_for_longer_than_it_should(known: dict[str, str], database: Connection) -> None:
    await database.execute("UPDATE projector.parked_events SET parked_at = now() - interval '90 s'")
    found = said(await projector("status", "--json", **known, PROJECTOR_PARKED_LIMIT="60"))
    assert (found["parked"], found["parked_older"], found["parked_limit"]) == (1, 1, 60.0)
    shown = await projector("status", **known, PROJECTOR_PARKED_LIMIT="60")
    assert "1 of them wait for longer than 60 s" in shown.out


async def test_dead_letters_are_listed_the_newest_first(known: dict[str, str]) -> None:
    found = said(await projector("dead-letters", "list", "--json", **known))
    assert [(one["reason"], one["offset"]) for one in found] == [("version_conflict", 3), ("unreadable", 2)]
    one = said(await projector("dead-letters", "list", "--json", "--reason", "unreadable", **known))
    assert [letter["reason"] for letter in one] == ["unreadable"]
    assert said(await projector("dead-letters", "list", "--json", "--order", "nobody", **known)) == []
    shown = await projector("dead-letters", "list", **known)
    assert "version_conflict" in shown.out
    assert f"{known['PROJECTOR_TOPICS']}/1@3" in shown.out


async def test_a_dead_letter_is_shown_with_its_bytes(known: dict[str, str]) -> None:
    conflict, unreadable = said(await projector("dead-letters", "list", "--json", **known))
    torn = said(await projector("dead-letters", "show", str(unreadable["id"]), "--json", **known))
    assert base64.b64decode(torn["value_base64"]) == b'{"torn": \xff'
    assert torn["key"] == "a-key"
    taken = said(await projector("dead-letters", "show", str(conflict["id"]), "--json", **known))
    assert (taken["order_id"], taken["event_id"], taken["version"]) == ("o-1", "other", 1)
    assert taken["headers"]["ce_id"] == "other"
    shown = await projector("dead-letters", "show", str(conflict["id"]), **known)
    assert "reason: version_conflict" in shown.out
    missing = await projector("dead-letters", "show", "999999", **known)
    assert (missing.code, missing.out, missing.err) == (1, "", "there is no dead letter 999999\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-command",),
        ("simulate", "--orders", "0"),
        ("simulate", "--duplicates", "2"),
        ("worker", "--processes", "0"),
        ("worker", "--batch-size", "0"),
        ("up", "--broker", "rabbit"),
        ("dead-letters", "list", "--reason", "whim"),
        ("dead-letters", "show", "one"),
        ("dead-letters", "retry"),
        ("dead-letters", "retry", "0"),
        ("dead-letters", "retry", "--execute"),
        ("dead-letters", "discard", "--why", "x"),
        ("dead-letters", "discard", "1"),
        ("dead-letters", "discard", "1", "--why", " "),
        ("status", "--no-such-option"),
    ],
    ids=" ".join,
)
async def test_what_cannot_be_asked_is_bad_usage(arguments: tuple[str, ...]) -> None:
    ended = await projector(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"PROJECTOR_BATCH_SIZE": "many"}, "PROJECTOR_BATCH_SIZE='many'"),
        ({"PROJECTOR_BATCHSIZE": "5"}, "did you mean PROJECTOR_BATCH_SIZE?"),
        ({"DATABASE_URL": "mysql://root:secret@localhost/x"}, "DATABASE_URL='(hidden)'"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "kafka.example:9092"}, "PROJECTOR_ALLOW_PLAINTEXT=true"),
    ],
)
async def test_a_bad_setting_is_named_and_secrets_are_not(settings: dict[str, str], names: str) -> None:
    ended = await projector("worker", **settings)
    assert ended.code == 2
    assert names in ended.err
    assert "secret" not in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("command", ["migrate", "status", "worker", "dead-letters list", "dead-letters retry --all"])
async def test_a_database_that_is_not_there_is_a_dependency_out_of_reach(command: str) -> None:
    ended = await projector(*command.split(), DATABASE_URL=NO_DATABASE)
    assert (ended.code, ended.out) == (3, "")
    assert "projector: PostgreSQL: " in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("command", ["status", "simulate"])
async def test_a_broker_that_is_not_there_is_a_dependency_out_of_reach(database_url: str, command: str) -> None:
    ended = await projector(command, KAFKA_BOOTSTRAP_SERVERS=NOBODY, DATABASE_URL=database_url)
    assert (ended.code, ended.out) == (3, "")
    assert "projector: Kafka: " in ended.err
    assert "Traceback" not in ended.err


async def test_a_topic_that_is_not_there_is_a_dependency_out_of_reach(kafka_bootstrap: str, database_url: str) -> None:
    settings = {"DATABASE_URL": database_url, "PROJECTOR_TOPICS": "no-such-topic"}
    ended = await projector("status", KAFKA_BOOTSTRAP_SERVERS=kafka_bootstrap, **settings)
    assert ended.code == 3
    assert "no topic no-such-topic" in ended.err


@pytest.mark.parametrize("command", ["worker", "worker --processes 2", "status", "dead-letters list"])
async def test_a_database_that_was_never_migrated_is_refused(
    kafka_bootstrap: str, empty_database_url: str, command: str
) -> None:
    ended = await projector(*command.split(), KAFKA_BOOTSTRAP_SERVERS=kafka_bootstrap, DATABASE_URL=empty_database_url)
    assert ended.code == 2
    assert "projector migrate" in ended.err
    assert "Traceback" not in ended.err
