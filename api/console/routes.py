"""The console's addresses. Every page is whole by itself; a script that asks again gets only what changes of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import parse_qs

import orjson
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from api.console import order, overview, retrying
from api.console.assets import Assets
from api.console.history import History
from api.console.looking import MOST_LETTERS, SHOWN, Looks
from api.console.rendering import HEADERS, Pages
from api.console.session import SIGN_IN, Sessions, is_secure, local, same_origin
from api.problems import Problem
from api.reads import Reads
from consumer.cache.store import OrderCache
from consumer.letters import Selection
from consumer.verdicts import Reason
from schemas.connection import Pool

_LARGEST = 2**63 - 1
_MOST_FORM = 16 * 1024  # bytes

Letter = Annotated[int, Path(ge=1, le=_LARGEST)]


class Console:
    """What the routes share."""

    def __init__(
        self,
        reads: Reads,
        sessions: Sessions,
        history: History,
        objective: float,
        pool: Pool,
        cache: OrderCache | None = None,
    ) -> None:
        """`pool`: where letters are seen and retried; `cache`: what is to hear of an order that was changed so."""
        self.reads = reads
        self.sessions = sessions
        self.history = history
        self.objective = objective
        self.pool = pool
        self.cache = cache
        self.looks = Looks(pool)
        self.assets = Assets()
        self.pages = Pages(self.assets, signs_in=sessions.needed)

    def page(self, request: Request, name: str, **shown: Any) -> Response:
        """A page, or what changes of it."""
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return self.pages.page(name, part="hx-request" in request.headers, here=here, **shown)


def router(console: Console) -> APIRouter:
    """`/` and what is below `/console/`."""
    made = APIRouter(include_in_schema=False)
    _looking(made, console)
    _doing(made, console)
    return made


def _looking(made: APIRouter, console: Console) -> None:
    @made.get("/")
    async def start(request: Request) -> Response:
        status = console.reads.freshness.status
        look = await console.looks.now()
        rows = [] if status is None else overview.partitions(status, console.history)
        return console.page(
            request,
            "overview",
            status=status,
            verdict=overview.verdict(status, console.objective),
            partitions=rows,
            workers=overview.workers(rows),
            trend=overview.trend(console.history),
            look=look,
            rebuilds=[overview.rebuild(row) for row in look.rebuilds.rows],
            most=SHOWN,
        )

    @made.get("/console/letters")
    async def letters(
        request: Request,
        reason: Reason | Literal[""] = "",
        every: Annotated[bool, Query(alias="all")] = False,
        letter: Annotated[int | None, Query(ge=1, le=_LARGEST)] = None,
    ) -> Response:
        status = console.reads.freshness.status
        return console.page(
            request,
            "letters",
            said=None if letter is None else retrying.stands(letter, await console.looks.state(letter)),
            reason=reason,
            every=every,
            counts=None if status is None else status.dead_letters,
            letters=await console.looks.letters(Selection(reason=reason or None), resolved_too=every),
            most=MOST_LETTERS,
        )

    @made.get("/console/order")
    async def one_order(request: Request, id: Annotated[str, Query(max_length=1_000)] = "") -> Response:  # noqa: A002  what it is called in the address
        order_id = id.strip()
        shown = await order.look(console.reads, console.looks, order_id) if order_id else None
        status = console.reads.freshness.status
        return console.page(request, "order", order_id=order_id, shown=shown, status=status, most=MOST_LETTERS)

    @made.get("/console/history")
    async def history(after: float = 0.0) -> Response:
        return Response(orjson.dumps(console.history.columns(after)), 200, HEADERS, "application/json")

    @made.get("/console/static/{digest}/{name}")
    async def static(digest: str, name: str) -> Response:
        return console.assets.answer(digest, name)


def _doing(made: APIRouter, console: Console) -> None:
    @made.post("/console/letters/{letter}/retry")
    async def retry(request: Request, letter: Letter) -> Response:
        _expect_own(request)
        client = request.scope.get("projector.client")
        told = await retrying.retry(console.pool, console.cache, letter, f"console {client}" if client else "console")
        console.looks.forget()
        if "hx-request" in request.headers:
            return console.pages.page("said", told=told)
        return RedirectResponse(f"/console/letters?letter={letter}", 303, {"Cache-Control": "no-store"})

    @made.get(SIGN_IN)
    async def sign_in(next: Annotated[str, Query(max_length=2_000)] = "/") -> Response:  # noqa: A002  as in the address
        if not console.sessions.needed:
            return RedirectResponse("/", 303)
        return console.pages.page("sign_in", target=local(next), refused=False)

    @made.post(SIGN_IN)
    async def signed_in(request: Request) -> Response:
        _expect_own(request)
        form = await _form(request)
        target = local(form.get("next", "/"))
        answer = RedirectResponse(target, 303, {"Cache-Control": "no-store"})
        if console.sessions.open(form.get("token", "").strip(), answer, secure=_is_secure(request)):
            return answer
        return console.pages.page("sign_in", code=403, target=target, refused=True)

    @made.post("/console/sign-out")
    async def sign_out(request: Request) -> Response:
        _expect_own(request)
        answer = RedirectResponse(SIGN_IN, 303, {"Cache-Control": "no-store"})
        console.sessions.close(answer, secure=_is_secure(request))
        return answer


def _expect_own(request: Request) -> None:
    if not same_origin(request.headers):
        raise Problem(403, "foreign", "only the console's own pages may ask for this")


def _is_secure(request: Request) -> bool:
    return is_secure(request.url.scheme, request.headers.get("host", ""))


async def _form(request: Request) -> dict[str, str]:
    """A form's fields. Each is there once, whatever was sent."""
    body = await request.body()
    if len(body) > _MOST_FORM:
        raise Problem(413, "too-large", f"more than {_MOST_FORM} bytes")
    return {name: values[-1] for name, values in parse_qs(body.decode("latin-1")).items()}
