"""What the commands on dead letters share: their options, the database, and how a letter is told of."""

from __future__ import annotations

import os
import pwd
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import typer

from consumer import letters
from consumer.install import check
from consumer.letters import State
from consumer.verdicts import Reason
from runtime import postgres
from runtime.settings import load
from schemas.connection import Pool

DRY_RUN = "dry run; nothing was changed; --execute to do it"


def utf8(text: str | None) -> str | None:
    """An option's text; bytes of the command line that are none come as half surrogates, which PostgreSQL refuses."""
    try:
        (text or "").encode()
    except UnicodeEncodeError:
        raise typer.BadParameter("not UTF-8") from None
    return text


Id = Annotated[int, typer.Argument(help="Its id, from `list`.", min=1, max=2**63 - 1)]
Ids = typer.Argument(help="Letters, by their ids from `list`.", min=1, max=2**63 - 1)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Brokers = Annotated[str | None, typer.Option(help="Instead of KAFKA_BOOTSTRAP_SERVERS.")]
Database = Annotated[str | None, typer.Option(help="Instead of DATABASE_URL.")]
ByReason = Annotated[Reason | None, typer.Option("--reason", help="Only letters with this reason.")]
ByOrder = Annotated[str | None, typer.Option("--order", help="Only letters of this order.", callback=utf8)]
ByType = Annotated[str | None, typer.Option("--type", help="Only events of this type.", callback=utf8)]
Why = Annotated[str, typer.Option(help="Why nobody will need them; stays on record.", callback=utf8)]
By = Annotated[str | None, typer.Option(help="Who says so; your login name if left out.", callback=utf8)]
Execute = Annotated[bool, typer.Option("--execute", help="Do it. Without this, only say what would happen.")]


@asynccontextmanager
async def at_work(database_url: str | None) -> AsyncIterator[Pool]:
    """A pool on a database that this code may write to. Raises Refused if it has another schema or read models."""
    async with postgres.pool(load(database_url=database_url), "projector-dead-letters", 1) as pool:
        async with pool.acquire() as connection:
            with postgres.translated():
                await check(connection)
        yield pool


def login() -> str:
    """Who runs this program, as the system knows them."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user has no name
        return f"uid {os.getuid()}"


def plain(value: object) -> str:
    """Text for a terminal: what came from outside may hold its control sequences."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(value))


def counted(number: int, noun: str) -> str:
    """`1 letter`, `2 letters`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Unfit:
    """A letter that was named and is not open. `wrong`: what was asked for it can't be had any more."""

    letter: int
    why: str
    wrong: bool


async def unfit(pool: Pool, ids: Sequence[int], asked: str) -> list[Unfit]:
    """Those of the named letters that can't be retried, or discarded."""
    with postgres.translated():
        async with pool.acquire() as connection:
            found = await letters.states(connection, ids)
    missing = [Unfit(one, f"there is no dead letter {one}", True) for one in sorted(set(ids)) if one not in found]
    ended = [
        Unfit(one, _ended(one, state), state.resolution != asked)
        for one, state in sorted(found.items())
        if state.resolution is not None
    ]
    return missing + ended


def _ended(letter: int, state: State) -> str:
    by = f" by {state.by}" if state.by else ""
    note = f" ({state.note})" if state.note else ""
    return f"letter {letter} was {state.resolution}{by} already{note}: nothing can be done with it any more"
