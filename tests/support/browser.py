"""A real Chromium in a test's hands: the one that the machine has, driven by Playwright, which downloads none here."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from tests.support.saboteurs.needs import lacking

_AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text("utf-8")
_NAMES = ("chromium", "chromium-browser", "google-chrome")

# What a page's policy has forbidden, as the browser tells the page itself.
_WATCH = """
window.forbidden = [];
document.addEventListener("securitypolicyviolation", (one) =>
    window.forbidden.push(`${one.violatedDirective} ${one.blockedURI} ${one.sourceFile}:${one.lineNumber}`));
"""
_BREACHES = """
async () => (await axe.run(document, {resultTypes: ["violations"]})).violations.flatMap(
    (one) => one.nodes.map((node) => `${one.id}: ${node.target.join(" ")}: ${node.failureSummary}`))
"""


@dataclass
class Visit:
    """A page that is open, and what the browser had to complain of."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def heard(self, line: ConsoleMessage) -> None:
        """A line of the browser's console."""
        if line.type in ("error", "warning"):
            self.complaints.append(line.text)

    async def breaches(self) -> list[str]:
        """What axe-core finds wrong with the page for people who can't see, point, or tell colours apart."""
        await self.page.evaluate(_AXE)  # not as a script element, which the page's policy would rightly refuse
        return list(await self.page.evaluate(_BREACHES))

    async def forbidden(self) -> list[str]:
        """What the page tried to load or run and may not."""
        return list(await self.page.evaluate("window.forbidden"))

    async def focused(self) -> str:
        """What has the focus, by what a screen reader would call it, or its id."""
        return str(
            await self.page.evaluate(
                "() => { const one = document.activeElement;"
                " return one.getAttribute('aria-label') || one.id || one.textContent.trim() || one.tagName }"
            )
        )

    async def tab_to(self, name: str, most: int = 80) -> int:
        """Press Tab until something of that name has the focus; how often that took."""
        for times in range(1, most + 1):
            await self.page.keyboard.press("Tab")
            if await self.focused() == name:
                return times
        raise AssertionError(f"Tab leads to no {name!r}")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser for as long as the block lasts."""
    program = next((found for found in map(shutil.which, _NAMES) if found), None)
    if program is None:
        lacking("needs Chromium (Debian: apt-get install chromium)")
    async with async_playwright() as playwright:
        # As root, in a container, Chromium can't make its sandbox; what it opens here is ours.
        browser = await playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def visit(browser: Browser, address: str, path: str = "/", **more: Any) -> AsyncIterator[Visit]:
    """A page in a profile of its own; `more` is what Playwright takes for one: color_scheme, viewport, …"""
    context = await browser.new_context(base_url=address, **{"reduced_motion": "reduce", **more})
    try:
        found = Visit(await context.new_page())
        found.page.on("console", found.heard)
        found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
        await context.add_init_script(_WATCH)
        await found.page.goto(path)
        yield found
    finally:
        await context.close()
