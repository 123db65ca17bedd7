"""The console in a real Chromium, on a real service: by keyboard, for screen readers, both themes, without scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from testkit.deadline import eventually
from tests.acceptance.test_api import KEYS, serving
from tests.support.browser import Visit, chromium, visit
from tests.support.engine import Engine, engine, placed
from tests.support.fleet import Fleet, fleet
from tests.support.redelivery import confirmed, letters, of_version, run_as_older
from tests.support.streams import plain_stream, publish

PATHS = ("/", "/console/letters", "/console/letters?all=true", "/console/order", "/console/order?id=a")
PHONE = {"width": 360, "height": 740}


class Scene(NamedTuple):
    """A service with something to show, and its database."""

    address: str
    client: httpx2.AsyncClient
    fed: Engine
    shop: Fleet


@pytest_asyncio.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as made:
        yield made


@pytest_asyncio.fixture
async def scene(database_url: str, kafka_bootstrap: str, topic: str) -> AsyncIterator[Scene]:
    """Order a waits behind a letter that can be read now; order b for one that never can be applied."""
    async with engine(database_url) as fed, fleet(kafka_bootstrap, database_url, topic) as shop:
        fed.send(placed("a"), confirmed("a", 2), confirmed("a", 3), placed("b"))
        await run_as_older(fed, of_version(2))
        fed.send(placed("b", 2), confirmed("b", 3))
        await fed.run()
        async with serving(shop, "--dev") as (client, _):

            async def known() -> bool:
                return bool((await client.get("/freshness")).json()["known"])

            await eventually(known, 30)
            yield Scene(str(client.base_url), client, fed, shop)


async def sound(seen: Visit) -> None:
    """Nothing to complain of."""
    assert await seen.breaches() == []
    assert await seen.forbidden() == []
    assert seen.complaints == []


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_every_page_is_sound_for_everybody(browser: Browser, scene: Scene, theme: Any) -> None:
    for path in PATHS:
        async with visit(browser, scene.address, path, color_scheme=theme) as seen:
            if path == "/":
                await expect(seen.page.locator(".plot canvas")).to_have_count(3)
            await sound(seen)


async def test_on_a_phone_nothing_sticks_out(browser: Browser, scene: Scene) -> None:
    for path in PATHS:
        async with visit(browser, scene.address, path, viewport=PHONE) as seen:
            assert await seen.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
            await sound(seen)


async def test_a_letter_is_retried_by_keyboard_and_the_focus_is_not_lost(browser: Browser, scene: Scene) -> None:
    good, bad = [one["id"] for one in await letters(scene.fed)]
    async with visit(browser, scene.address) as seen:
        assert await seen.tab_to("Skip to the content") == 1
        await seen.page.keyboard.press("Enter")
        assert await seen.focused() == "main"
        await seen.tab_to(f"Retry letter {bad}")  # the newest is the first
        await seen.page.keyboard.press("Enter")
        await expect(seen.page.get_by_role("status").first).to_contain_text(f"Letter {bad} is still refused")
        await expect(seen.page.locator(f"#letter-{bad}")).to_contain_text("2 times")
        assert await seen.focused() == f"Retry letter {bad}"
        await seen.tab_to(f"Retry letter {good}")
        await seen.page.keyboard.press("Space")
        await expect(seen.page.get_by_role("status").first).to_contain_text(f"Letter {good} was applied, and 1 event")
        await expect(seen.page.locator(f"#letter-{good}")).to_have_count(0)
        await eventually(lambda: _has_focus(seen, f"Retry letter {bad}"))
        await sound(seen)
    assert await scene.fed.value("SELECT version FROM read_model.order_summary WHERE order_id = 'a'") == 3


async def test_looking_again_leaves_the_reader_where_they_are(browser: Browser, scene: Scene) -> None:
    async with visit(browser, scene.address) as seen:
        await seen.page.get_by_text("By the minute", exact=True).click()
        await seen.tab_to(f"Retry letter {(await letters(scene.fed))[0]['id']}")
        await seen.page.evaluate("window.kept = document.activeElement")
        shown = seen.page.get_by_text("As of ")
        before = await shown.inner_text()
        await expect(shown).not_to_have_text(before)  # looked again
        assert await seen.page.evaluate("window.kept === document.activeElement && kept.isConnected")
        await expect(seen.page.get_by_role("table", name="The worst of each minute")).to_be_visible()


async def test_who_goes_on_elsewhere_after_a_retry_is_not_taken_back(browser: Browser, scene: Scene) -> None:
    _, bad = [one["id"] for one in await letters(scene.fed)]
    async with visit(browser, scene.address, "/console/letters") as seen:
        await seen.page.get_by_role("button", name=f"Retry letter {bad}").click()
        await expect(seen.page.locator(f"#letter-{bad}")).to_contain_text("2 times")
        await seen.page.mouse.click(700, 28)  # where nothing can have the focus
        await scene.fed.fetch("UPDATE projector.dead_letters SET attempts = 7 WHERE id = $1", bad)
        await expect(seen.page.locator(f"#letter-{bad}")).to_contain_text("7 times")  # looked again
        assert await seen.page.evaluate("!document.activeElement.closest('.retry')")


async def test_the_last_letter_leaves_the_focus_at_their_heading(browser: Browser, scene: Scene) -> None:
    good, bad = [one["id"] for one in await letters(scene.fed)]
    await scene.fed.fetch("DELETE FROM projector.dead_letters WHERE id = $1", bad)
    async with visit(browser, scene.address, "/console/letters") as seen:
        await seen.page.get_by_role("button", name=f"Retry letter {good}").click()
        await expect(seen.page.locator(".letter")).to_have_count(0)
        await eventually(lambda: _has_focus(seen, "letters"))
        await sound(seen)


async def test_the_page_follows_what_happens_and_says_when_the_verdict_changes(
    browser: Browser, scene: Scene, kafka_bootstrap: str, topic: str
) -> None:
    async with visit(browser, scene.address) as seen:
        await expect(seen.page.locator("#verdict")).to_contain_text("Caught up")
        await publish(kafka_bootstrap, topic, plain_stream(300, 1, topic=topic))
        await expect(seen.page.locator("#verdict")).to_contain_text("Behind by", timeout=30_000)
        await expect(seen.page.locator("#spoken")).to_contain_text("Behind by")
        worker = scene.shop.start()
        await expect(seen.page.locator("#verdict")).to_contain_text("Caught up", timeout=60_000)
        await expect(seen.page.locator("#spoken")).to_contain_text("Caught up")
        await expect(seen.page.get_by_role("row", name=f"-{worker.pid} 12 0")).to_be_visible()
        drawn = "(one) => one.getContext('2d').getImageData(0, 0, one.width, one.height).data.some((byte) => byte)"
        assert await seen.page.locator(".plot canvas").first.evaluate(drawn)
        await sound(seen)
    assert await scene.shop.stop() == [0]


async def test_an_order_is_looked_up_by_its_id(browser: Browser, scene: Scene) -> None:
    async with visit(browser, scene.address, "/console/order") as seen:
        await seen.page.get_by_label("Order id").fill("b")
        await seen.page.keyboard.press("Enter")
        await expect(seen.page.get_by_role("heading", level=1)).to_have_text("Order b")
        await expect(seen.page.locator("#verdict")).to_contain_text("Version 1, updated")
        await expect(seen.page.get_by_role("row", name="1 order.placed")).to_be_visible()
        await expect(seen.page.locator(".letter")).to_contain_text("already placed")
        await sound(seen)


async def test_nothing_is_asked_while_nobody_looks_or_updates_are_paused(browser: Browser, scene: Scene) -> None:
    async with visit(browser, scene.address, "/console/order") as seen:
        asked: list[str] = []
        await seen.page.clock.install()
        await seen.page.goto("/")
        seen.page.on("request", lambda one: asked.append(one.url))
        async with seen.page.expect_request("**/console/history*"):
            await seen.page.clock.run_for(2_000)
        await seen.page.get_by_role("button", name="Pause updates").click()
        await seen.page.wait_for_load_state("networkidle")
        asked.clear()
        await seen.page.clock.run_for(60_000)
        assert asked == []
        await seen.page.get_by_role("button", name="Resume updates").click()
        await eventually(lambda: len(asked) >= 2)
        await seen.page.evaluate("Object.defineProperty(document, 'hidden', {value: true})")
        await seen.page.wait_for_load_state("networkidle")
        asked.clear()
        await seen.page.clock.run_for(60_000)
        assert asked == []


async def test_a_service_that_is_gone_is_not_taken_for_one_where_nothing_happens(
    browser: Browser, scene: Scene
) -> None:
    async with visit(browser, scene.address) as seen:
        await seen.page.route("**/*", lambda route: route.abort())
        await expect(seen.page.locator("#said")).to_contain_text("The service does not answer", timeout=15_000)
        await seen.page.unroute("**/*")
        await expect(seen.page.locator("#said")).to_be_empty(timeout=15_000)


async def test_without_scripts_everything_is_there_but_the_charts(browser: Browser, scene: Scene) -> None:
    good, _ = [one["id"] for one in await letters(scene.fed)]
    async with visit(browser, scene.address, java_script_enabled=False) as seen:
        await expect(seen.page.get_by_role("heading", level=2)).to_have_count(6)
        await expect(seen.page.get_by_role("table")).not_to_have_count(0)
        await seen.page.get_by_role("button", name=f"Retry letter {good}").click()
        await expect(seen.page.locator("#said")).to_have_text(f"Letter {good} was applied.")
        assert await seen.page.title() == "Dead letters · order-projector"
        assert seen.complaints == []


async def test_one_signs_in_and_out(browser: Browser, database_url: str, kafka_bootstrap: str, topic: str) -> None:
    async with (
        fleet(kafka_bootstrap, database_url, topic) as shop,
        serving(shop, **KEYS) as (client, _),
        visit(browser, str(client.base_url), "/console/letters") as seen,
    ):
        await expect(seen.page.get_by_role("heading", level=1)).to_have_text("Sign in")
        await sound(seen)
        await seen.tab_to("token")
        await seen.page.keyboard.type("not-the-token-at-all")
        await seen.page.keyboard.press("Enter")
        await expect(seen.page.get_by_role("alert")).to_have_text("That is none of this service's tokens.")
        assert await seen.breaches() == []
        await seen.page.get_by_label("Token").fill(KEYS["PROJECTOR_API_TOKENS"])
        await seen.page.keyboard.press("Enter")
        await expect(seen.page.get_by_role("heading", level=1)).to_have_text("Dead letters")
        [kept] = await seen.page.context.cookies()
        assert (kept["httpOnly"], kept["sameSite"]) == (True, "Strict")
        await seen.page.get_by_role("button", name="Sign out").click()
        await expect(seen.page.get_by_role("heading", level=1)).to_have_text("Sign in")
        assert await seen.page.context.cookies() == []


async def _has_focus(seen: Visit, name: str) -> bool:
    found = await seen.focused()
    assert found == name, found
    return True
