"""The console on a real database: whole pages, what changes of them, who may look, and what a retry does."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from api.app import Pools, Service, running, service
from schemas.errors import Refused
from testkit.deadline import eventually
from tests.support.commands import place
from tests.support.engine import Engine, engine, placed
from tests.support.redelivery import confirmed, letters, of_version, run_as_older
from tests.support.streams import plain_stream, publish
from tests.support.write_side import Till, settings_of, till

TOKEN = "a-token-of-some-length"
SECRET = b"s" * 32
OURS = {"Sec-Fetch-Site": "same-origin"}
SCRIPT = {"HX-Request": "true"}


@asynccontextmanager
async def browsing(
    ours: Till, url: str, *, dev: bool = True, **settings: Any
) -> AsyncIterator[tuple[httpx2.AsyncClient, Service]]:
    """A browser without scripts, and the service that it looks at."""
    made = service(
        settings_of(url, api_tokens=(TOKEN,), **settings), Pools(ours.pool, ours.pool), ours.handler, SECRET, dev=dev
    )
    transport = httpx2.ASGITransport(app=made.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client, made


@pytest_asyncio.fixture
async def ours(database_url: str) -> AsyncIterator[Till]:
    async with till(database_url, local=True) as made:
        yield made


@pytest_asyncio.fixture
async def client(ours: Till, database_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Nobody has to sign in, and Kafka is away."""
    async with browsing(ours, database_url) as (browser, _):
        yield browser


@pytest_asyncio.fixture
async def fed(database_url: str) -> AsyncIterator[Engine]:
    """Order a waits behind a letter that can be read now; order b for one that never can be applied."""
    async with engine(database_url) as made:
        made.send(placed("a"), confirmed("a", 2), confirmed("a", 3), placed("b"))
        await run_as_older(made, of_version(2))
        made.send(placed("b", 2), confirmed("b", 3), placed("<i>c</i>", 3))
        await made.run()
        yield made


async def page(client: httpx2.AsyncClient, path: str, **more: Any) -> str:
    answer = await client.get(path, **more)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert answer.headers["referrer-policy"] == "no-referrer"
    return answer.text


def plain(html: str) -> str:
    """What there is to read."""
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)))


async def test_every_page_is_whole_where_nothing_is_known(client: httpx2.AsyncClient) -> None:
    for path, heading in (("/", "Overview"), ("/console/letters", "Dead letters"), ("/console/order", "Orders")):
        html = await page(client, path)
        assert f"<h1>{heading}</h1>" in html
        assert html.count("<h1") == 1
        assert "style=" not in html
        assert not re.search(r"<script>|\son\w+=", html)
    assert "Nobody knows how fresh it is" in await page(client, "/")


async def test_what_is_parked_and_dead_is_shown_with_why_and_nothing_is_markup(
    client: httpx2.AsyncClient, fed: Engine
) -> None:
    html = await page(client, "/")
    text = plain(html)
    _, bad = [one["id"] for one in await letters(fed)]
    assert "a 1 version 2, which has not come" in text  # its letter could not be read, so names no order
    assert f"b 1 version 2, which is letter {bad}" in text
    assert "<i>c</i> 1 version 1, which has not come" in text
    assert "as an older version put it" in text
    assert "order.placed at version 2 on an order that is already placed" in text
    assert "<i>c" not in html
    assert "Name of c-1" not in text  # no record's data


async def test_letters_are_found_by_reason(client: httpx2.AsyncClient, fed: Engine) -> None:
    text = plain(await page(client, "/console/letters", params={"reason": "unreadable"}))
    assert "as an older version put it" in text
    assert "already placed" not in text
    assert "already placed" in await page(client, "/console/letters", params={"reason": ""})  # as the form sends it
    assert (await client.get("/console/letters", params={"reason": "x"})).status_code == 422


async def test_a_script_gets_what_changes_and_nothing_round_it(client: httpx2.AsyncClient, fed: Engine) -> None:
    for path in ("/", "/console/letters", "/console/order?id=b"):
        part = await page(client, path, headers=SCRIPT)
        assert "<html" not in part
        assert "<h1" not in part
        assert "on an order that is already placed" in part


async def test_an_order_is_shown_with_its_events_and_its_age(
    client: httpx2.AsyncClient, ours: Till, database_url: str
) -> None:
    order = (await client.post("/orders", json=place())).json()["order_id"]
    await client.post(f"/orders/{order}/confirm")
    html = await page(client, "/console/order", params={"id": f" {order} "})
    text = plain(html)
    assert re.search(r"Version 2, updated (just now|\d s ago)", text)
    assert re.search(r"1 order\.placed .* 2 order\.confirmed", text)
    assert re.search(r'<time datetime="2\d{3}-[\d-]+T[\d:.]+Z" title="[^"]+ UTC">', html)
    async with till(database_url) as eventual, browsing(eventual, database_url) as (behind, _):
        await behind.post(f"/orders/{order}/pay", json={"payment_id": "p", "amount": 20})
        text = plain(await page(behind, "/console/order", params={"id": order}))
        assert "Version 2, updated" in text
        assert "Commands have brought it to version 3, which readers do not see yet." in text
        unseen = (await behind.post("/orders", json=place())).json()["order_id"]
        assert "Readers do not see this order yet" in plain(await page(behind, "/console/order", params={"id": unseen}))


@pytest.mark.parametrize("order", ["nobody", "a\0b", "'; DROP TABLE x; --", "<script>alert(1)</script>", "ü" * 200])
async def test_an_order_that_is_not_there_is_said_to_be_not(client: httpx2.AsyncClient, order: str) -> None:
    html = await page(client, "/console/order", params={"id": order})
    assert "There is no such order here" in html
    assert "<script>" not in html


async def test_a_retry_applies_the_letter_and_says_so(client: httpx2.AsyncClient, fed: Engine) -> None:
    good, bad = [one["id"] for one in await letters(fed)]
    done = await client.post(f"/console/letters/{good}/retry", headers={**OURS, **SCRIPT})
    assert plain(done.text).strip() == f"Letter {good} was applied, and 1 event that waited behind it."
    assert await fed.value("SELECT version FROM read_model.order_summary WHERE order_id = 'a'") == 3
    assert await fed.value("SELECT resolved_by FROM projector.dead_letters WHERE id = $1", good) == "console"
    again = await client.post(f"/console/letters/{good}/retry", headers={**OURS, **SCRIPT})
    assert "open no more" in again.text
    vain = await client.post(f"/console/letters/{bad}/retry", headers=OURS)
    assert (vain.status_code, vain.headers["location"]) == (303, f"/console/letters?letter={bad}")
    html = await page(client, vain.headers["location"])
    assert f"Letter {bad} is still refused" in html
    assert f'id="letter-{good}"' not in html
    assert "2 times, last just now" in plain(html)
    resolved = plain(await page(client, "/console/letters", params={"all": "true", "letter": good}))
    assert f"Letter {good} was applied." in resolved
    assert "by console: applied" in resolved


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}])
async def test_no_other_page_can_have_a_letter_retried(
    client: httpx2.AsyncClient, fed: Engine, headers: dict[str, str]
) -> None:
    good, _ = [one["id"] for one in await letters(fed)]
    for path in (f"/console/letters/{good}/retry", "/console/sign-in", "/console/sign-out"):
        assert (await client.post(path, headers=headers)).status_code == 403
    assert (await letters(fed))[0]["resolved_at"] is None


async def test_who_signs_in_sees_the_console_and_nothing_else(ours: Till, database_url: str, fed: Engine) -> None:
    async with browsing(ours, database_url, dev=False) as (browser, _):
        led = await browser.get("/console/letters?reason=unreadable")
        assert led.headers["location"] == "/console/sign-in?next=/console/letters%3Freason%3Dunreadable"
        assert 'value="/console/letters?reason=unreadable"' in await page(browser, led.headers["location"])
        wrong = await browser.post("/console/sign-in", data={"token": "wrong", "next": "/"}, headers=OURS)
        assert (wrong.status_code, "none of this service's tokens" in plain(wrong.text)) == (403, True)
        right = await browser.post("/console/sign-in", data={"token": TOKEN, "next": "//evil"}, headers=OURS)
        assert (right.status_code, right.headers["location"]) == (303, "/")
        good, _ = [one["id"] for one in await letters(fed)]
        assert "Sign out" in await page(browser, "/")
        assert (await browser.get("/orders")).status_code == 401
        assert (await browser.post("/orders", json=place(), headers=OURS)).status_code == 401
        assert (await browser.post(f"/console/letters/{good}/retry", headers=OURS)).status_code == 303
        by = await fed.value("SELECT resolved_by FROM projector.dead_letters WHERE id = $1", good)
        assert re.fullmatch("console [0-9a-f]{16}", by)
        assert (await browser.post("/console/sign-out", headers=OURS)).headers["location"] == "/console/sign-in"
        assert (await browser.get("/")).status_code == 303
        assert (await browser.get("/console/history")).status_code == 303
        assert (await browser.get("/", headers={"Authorization": f"Bearer {TOKEN}"})).status_code == 200


async def test_files_may_be_kept_for_ever_since_their_address_is_their_content(client: httpx2.AsyncClient) -> None:
    paths = re.findall(r'(?:href|src)="(/console/static/[^"]+)"', await page(client, "/"))
    assert len(set(paths)) == 6
    for path in paths:
        answer = await client.get(path)
        assert (answer.status_code, "immutable" in answer.headers["cache-control"]) == (200, True)
        assert (await client.get(path.replace("/static/", "/static/x"))).status_code == 404


async def test_the_page_shows_how_it_is_and_how_it_was(
    ours: Till, database_url: str, kafka_bootstrap: str, topic: str
) -> None:
    more: dict[str, Any] = {"bootstrap": kafka_bootstrap, "topic": topic}
    async with browsing(ours, database_url, **more) as (browser, made), running(made):
        await eventually(lambda: len(made.history.columns()["at"]) >= 2, 30)
        assert "Caught up" in plain(await page(browser, "/"))
        await publish(kafka_bootstrap, topic, plain_stream(20, 1, topic=topic))
        await eventually(lambda: made.freshness.status is not None and made.freshness.status.lag > 0, 30)
        await eventually(lambda: (made.history.columns()["lag"] or [0])[-1], 30)
        text = plain(await page(browser, "/"))
        assert "Behind by" in text
        assert f"Of topic {topic}" in text
        assert re.search(r" 11 waiting \d", text)
        assert "nobody yet" in text
        found = (await browser.get("/console/history")).json()
        assert len(found["places"]) == len(found["lags"]) == 12
        assert found["lag"][0] == 0
        assert found["lag"][-1] == sum(line[-1] for line in found["lags"])
        newer = (await browser.get("/console/history", params={"after": found["at"][-2]})).json()
        assert newer["at"][0] == found["at"][-1]


async def test_a_rebuild_shows_how_far_it_is(client: httpx2.AsyncClient, ours: Till) -> None:
    await ours.fetch(
        "INSERT INTO projector.rebuilds (read_models, state, source, phase, events, expected, started_at, seen_at) "
        "VALUES ('{orders}', 'running', 'log', 'bulk', 250, 1000, now() - interval '10 s', now())"
    )
    html = await page(client, "/")
    assert re.search(r'<progress id="progress-1" max="100" value="25.0"', html)
    assert "25 %, 250 events, 25/s, about 30 s left" in plain(html)


async def test_many_who_look_at_once_ask_the_database_once(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def find(*_: Any, **__: Any) -> list[Any]:
        asked.append(1)
        return []

    monkeypatch.setattr("consumer.letters.find", find)
    answers = await asyncio.gather(*(client.get("/") for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(asked) <= 2  # one, and another if that took a second


async def test_a_part_that_may_not_be_read_says_so_and_the_others_are_there(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: Any, **__: Any) -> list[Any]:
        raise Refused("PostgreSQL: permission denied")

    monkeypatch.setattr("consumer.letters.find", refused)
    text = plain(await page(client, "/"))
    assert "This service's login has no right to read this" in text
    assert "No event waits for its turn." in text


async def test_a_database_that_hangs_keeps_nobody_waiting(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = asyncio.Event()

    async def find(*_: Any, **__: Any) -> list[Any]:
        await answered.wait()
        return []

    monkeypatch.setattr("consumer.letters.find", find)
    monkeypatch.setattr("api.console.looking._PATIENCE", 0.2)
    try:
        text = plain(await page(client, "/"))
        assert "PostgreSQL does not answer at the moment." in text
        assert "No event waits for its turn." in text
    finally:
        answered.set()
