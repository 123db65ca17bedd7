"""Pages from templates. Whatever is put into one is escaped; nothing in it may run or load but what is ours."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import Response
from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from api.console import words
from api.console.assets import Assets

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# What htmx is told: no style of its own, no history in the browser's storage, no errors put into the page.
HTMX = (
    '{"includeIndicatorCSS": false, "history": false, "defaultTimeout": 30000, '
    '"noSwap": ["204", "304", "4xx", "5xx"], "morphIgnore": ["data-htmx-powered", "open"]}'
)


class Pages:
    """Renders pages, or the part of one that a script asks for again."""

    def __init__(self, assets: Assets, *, signs_in: bool) -> None:
        self._templates = Environment(
            loader=PackageLoader("api.console", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(asset=assets.path, htmx_config=HTMX, signs_in=signs_in)
        self._templates.filters.update(
            ago=_ago,
            at=_at,
            brief=words.brief,
            clock=words.clock,
            counted=words.counted,
            money=words.money,
            number=words.number,
            span=words.span,
            spaced=lambda text: str(text).replace("_", " "),
        )

    def page(self, name: str, *, part: bool = False, code: int = 200, **shown: Any) -> Response:
        """A page; `part`: only what changes of it, for a page that is open."""
        template = self._templates.get_template(f"{name}.html")
        values = {"now": datetime.now(UTC), "said": None, **shown}
        if part:
            context = template.new_context(values)
            text = "".join(template.blocks["live"](context))
        else:
            text = template.render(values)
        return Response(text, code, HEADERS, "text/html; charset=utf-8")


@pass_context
def _ago(context: Context, moment: datetime | None) -> Markup:
    """How long ago, with the exact time beside it."""
    return _time(moment, words.ago(moment, context["now"])) if moment else Markup("–")


def _at(moment: datetime | None) -> Markup:
    """The exact time."""
    return _time(moment, words.moment(moment)) if moment else Markup("–")


def _time(moment: datetime, text: str) -> Markup:
    stamp = moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(stamp, words.moment(moment), text)
