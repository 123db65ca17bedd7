"""A letter tried again from the page: what `projector dead-letters retry ID --execute` does, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from api.console.words import counted
from consumer.cache.marks import renew
from consumer.cache.store import OrderCache
from consumer.letters import Selection, State
from consumer.projection import Projection
from consumer.read_models import READ_MODELS
from consumer.redelivery import Redelivery, Retried
from runtime.postgres import leased
from schemas.connection import Pool
from schemas.errors import ProjectorError, Refused

_log = structlog.get_logger("projector.api.console")

_ACQUIRE = 5.0  # seconds

_ENDS = {
    "applied": "was applied",
    "parked": "is parked until its turn comes",
    "duplicate": "is a duplicate: its event is known already",
    "erased": "is gone: its order is erased",
}


async def retry(pool: Pool, cache: OrderCache | None, letter: int, by: str) -> str:
    """Try it, and say what became of it."""
    redelivery = Redelivery(pool, lambda: Projection(READ_MODELS), by, execute=True)
    try:
        done = [one async for one in redelivery.run(Selection(ids=(letter,)))]
        changed = [one.order_id for one in done if one.applied and one.order_id is not None]
        if cache is not None and changed:
            async with leased(pool, _ACQUIRE) as connection:
                await renew(cache, connection, changed)
    except Refused as error:
        told = f"Letter {letter} could not be retried: {error}."
    except ProjectorError:
        told = f"Letter {letter} could not be retried: PostgreSQL does not answer. Try again."
    else:
        told = said(letter, done)
    _log.info("letter_retried", letter=letter, by=by)
    return told


def said(letter: int, done: Sequence[Retried]) -> str:
    """What became of a letter that was retried, for a person."""
    for one in done:
        if one.failed:
            return f"Letter {letter} could not be retried: {one.failed}. It is as it was."
        for fate in one.letters:
            if fate.becomes == "refused":
                return f"Letter {letter} is still refused ({_spaced(fate.reason)}): {fate.error}"
            also = one.applied - (fate.becomes == "applied")
            more = f", and {counted(also, 'event')} that waited behind it" if also > 0 else ""
            waits = f" {counted(one.behind.parked, 'event')} still parked." if one.behind.parked else ""
            return f"Letter {letter} {_ENDS[fate.becomes]}{more}.{waits}"
    return f"Letter {letter} is open no more: somebody else was faster."


def stands(letter: int, state: State | None) -> str:
    """How a letter stands, told by its row: for a page that is loaded after a retry."""
    if state is None:
        return f"There is no letter {letter}."
    if state.resolution is None:
        return f"Letter {letter} is still refused; its row says why."
    if state.note in _ENDS and state.resolution == "retried":
        return f"Letter {letter} {_ENDS[state.note]}."
    return f"Letter {letter} was {state.resolution}."


def _spaced(reason: str | None) -> str:
    return (reason or "").replace("_", " ")
