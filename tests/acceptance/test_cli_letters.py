"""`projector dead-letters retry` and `discard` from outside: what they say, what they do, and how they end."""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.engine import Engine, attributes, engine, placed
from tests.support.fleet import Ended, projector
from tests.support.redelivery import confirmed, letters, of_version, run_as_older

DRY_RUN = "dry run; nothing was changed; --execute to do it"
PAGE = (Path(__file__).parents[2] / "docs" / "dead-letters.md").read_text("utf-8")
ME = pwd.getpwuid(os.getuid()).pw_name


@pytest_asyncio.fixture
async def fed(database_url: str) -> AsyncIterator[Engine]:
    """Order a waits for a letter that can be read now; order b for one that never can be applied."""
    async with engine(database_url) as made:
        made.send(placed("a"), confirmed("a", 2), confirmed("a", 3), placed("b"))
        await run_as_older(made, of_version(2))
        made.send(placed("b", 2), confirmed("b", 3), confirmed("b", 4))
        await made.run()
        yield made


async def asked(database_url: str, *arguments: str) -> Ended:
    ended = await projector("dead-letters", *arguments, DATABASE_URL=database_url)
    assert "Traceback" not in ended.err
    return ended


async def ids(fed: Engine) -> tuple[str, str]:
    """Of the letter that can be applied, and of the one that can't."""
    good, bad = [str(letter["id"]) for letter in await letters(fed)]
    return good, bad


async def open_ones(fed: Engine) -> list[tuple[str, int]]:
    return [(str(one["id"]), one["attempts"]) for one in await letters(fed) if one["resolved_at"] is None]


async def test_a_retry_says_what_it_would_do_and_does_it_when_told_to(fed: Engine, database_url: str) -> None:
    good, bad = await ids(fed)
    told = await asked(database_url, "retry", good)
    assert (told.code, told.err) == (0, "")
    assert told.out.splitlines() == [
        "order a: 2 events would be applied",
        f"  letter {good}: applied",
        "1 letter: 1 would be resolved, 0 still open",
        DRY_RUN,
    ]
    assert await open_ones(fed) == [(good, 1), (bad, 1)]
    done = await asked(database_url, "retry", good, "--execute")
    assert done.code == 0
    assert done.out.splitlines() == [
        "order a: 2 events applied",
        f"  letter {good}: applied",
        "1 letter: 1 resolved, 0 still open",
    ]
    assert await open_ones(fed) == [(bad, 1)]
    assert await fed.value("SELECT version FROM read_model.order_summary WHERE order_id = 'a'") == 3
    assert await fed.value("SELECT resolved_by FROM projector.dead_letters WHERE resolved_at IS NOT NULL") == ME
    again = await asked(database_url, "retry", good, "--execute")
    assert again.code == 0
    assert f"letter {good} was retried by {ME} already (applied)" in again.err


async def test_a_retry_that_leaves_something_refused_ends_with_1(fed: Engine, database_url: str) -> None:
    _, bad = await ids(fed)
    told = await asked(database_url, "retry", "--order", "b")
    assert told.code == 1
    assert "order b: 0 events would be applied; 2 events parked for version 2" in told.out
    assert f"letter {bad}: still refused: invalid_history: order.placed at version 2" in told.out
    done = await asked(database_url, "retry", "--all", "--execute")
    assert done.code == 1
    assert "2 letters: 1 resolved, 1 still open" in done.out
    assert await open_ones(fed) == [(bad, 2)]
    listed = await asked(database_url, "list", "--all")
    assert f"{bad}  open  invalid_history  order b" in listed.out
    assert "2 attempts" in listed.out
    assert "  retried  unreadable  order a" in listed.out
    assert f"    retried by {ME}: applied" in listed.out


async def test_a_retry_tells_machines_the_same(fed: Engine, database_url: str) -> None:
    good, bad = await ids(fed)
    ended = await asked(database_url, "retry", good, bad, "999", "--json")
    assert ended.code == 1
    found: dict[str, Any] = json.loads(ended.out)
    assert (found["executed"], found["clean"]) == (False, False)
    assert found["unfit"] == [{"letter": 999, "why": "there is no dead letter 999", "wrong": True}]
    one, two = found["orders"]
    assert (one["order_id"], one["applied"], one["failed"]) == ("a", 2, None)
    assert one["letters"] == [{"letter": int(good), "becomes": "applied", "reason": None, "error": None}]
    assert (two["letters"][0]["becomes"], two["behind"]) == ("refused", {"parked": 2, "waits_for": 2})


async def test_nothing_to_retry_is_no_fault(fed: Engine, database_url: str) -> None:
    ended = await asked(database_url, "retry", "--order", "nobody", "--execute")
    assert (ended.code, ended.out) == (0, "0 letters: 0 resolved, 0 still open\n")


async def test_a_discard_says_what_stays_parked_and_is_the_end(fed: Engine, database_url: str) -> None:
    _, bad = await ids(fed)
    told = await asked(database_url, "discard", bad, "--why", "placed by a test")
    assert told.code == 0
    assert told.out.splitlines() == [
        f"letter {bad} (invalid_history of order b): would be discarded",
        "  2 events of that order stay parked, for version 2",
        "  another event for version 2, with an id of its own, would free them; so would the order's erasure",
        DRY_RUN,
    ]
    assert len(await open_ones(fed)) == 2
    done = await asked(database_url, "discard", bad, "--why", "placed by a test", "--by", "ada", "--execute")
    assert (done.code, DRY_RUN in done.out) == (0, False)
    shown = json.loads((await asked(database_url, "show", bad, "--json")).out)
    assert (shown["state"], shown["resolved_by"], shown["resolution_note"]) == ("discarded", "ada", "placed by a test")
    retried = await asked(database_url, "retry", bad, "--execute")
    assert retried.code == 1
    assert f"letter {bad} was discarded by ada already (placed by a test)" in retried.err
    again = await asked(database_url, "discard", bad, "--why", "once more", "--execute")
    assert again.code == 0  # as it was asked


async def test_who_discards_is_the_login_name_unless_said(fed: Engine, database_url: str) -> None:
    good, bad = await ids(fed)
    ended = await asked(database_url, "discard", good, bad, "999", "--why", "x", "--execute", "--json")
    assert ended.code == 1  # one of them is not there
    found = json.loads(ended.out)
    assert [(one["letter"], one["blocks"]) for one in found["letters"]] == [(int(good), False), (int(bad), True)]
    assert {letter["resolved_by"] for letter in await letters(fed)} == {ME}


async def test_a_retried_letter_cannot_be_discarded(fed: Engine, database_url: str) -> None:
    good, _ = await ids(fed)
    await asked(database_url, "retry", good, "--execute")
    ended = await asked(database_url, "discard", good, "--why", "x", "--execute")
    assert (ended.code, ended.out) == (1, "")
    assert "was retried" in ended.err


async def test_a_database_whose_read_models_are_others_is_not_written_to(fed: Engine, database_url: str) -> None:
    await fed.value("UPDATE projector.read_models SET fingerprint = 'x' WHERE name = 'customer_summary'")
    ended = await asked(database_url, "retry", "--all", "--execute")
    assert (ended.code, ended.out) == (2, "")
    assert "customer_summary" in ended.err


async def test_what_came_from_outside_cannot_steer_the_terminal(fed: Engine, database_url: str) -> None:
    fed.send(confirmed("\x1b[31mred\n", 1))
    await fed.run()
    for command in (("list",), ("retry", "--all")):
        ended = await asked(database_url, *command)
        assert r"\x1b[31mred\n" in ended.out
        assert "\x1b" not in ended.out


async def test_the_page_on_dead_letters_shows_what_is_printed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = {"customer_id": "c-1", "customer_name": "Ada", "currency": "EUR"}
    old = {**flat, "items": [{"sku": "s", "quantity": 1, "unit_price": "1"}]}
    async with engine(database_url) as fed:
        fed.send(
            {**attributes("o-1042", 1, "order.placed", old), "schemaversion": 0},
            *(confirmed("o-1042", version) for version in (2, 3)),
            *(placed("o-1043"), confirmed("o-1043", 2), placed("o-1043", 3)),
            *(confirmed("o-1043", version) for version in (4, 5)),
            confirmed("o-1043", 1, id_="rival"),
        )
        monkeypatch.setattr("schemas.upcasts._UPCASTS", {})  # the release before; the command is of this one
        await fed.run()
    blocks = "".join(re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL))
    commands = re.findall(r"^\$ projector dead-letters (.*)\n((?:(?!\$ ).*\n)*)", blocks, re.MULTILINE)
    assert len(commands) == 6
    for command, shown in commands:
        ended = await asked(database_url, *shlex.split(command))
        assert ended.out + ended.err == shown, command


async def test_the_queries_on_the_page_find_what_is_held_up(fed: Engine) -> None:
    count, held_up, missing = [
        query for part in re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL) for query in split(part)
    ]
    assert [row["count"] for row in await fed.fetch(count)] == [1, 1]
    assert [(row["order_id"], row["version"], row["parked"]) for row in await fed.fetch(held_up)] == [("b", 2, 2)]
    assert {(row["order_id"], row["missing"], row["parked"]) for row in await fed.fetch(missing)} == {
        ("a", 2, 1),
        ("b", 2, 2),
    }


def split(queries: str) -> list[str]:
    return [query for query in queries.split(";") if query.strip()]
