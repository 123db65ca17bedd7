"""Is what the database shows what the events say? Asked of the reference model, which shares no code with the worker.

For the built-in read models the reference model knows the rows itself. For one of yours it knows the orders; their
rows are what the read model's own function says of them. So how events become orders, and how orders become rows over
many batches, deliveries and restarts, is judged from outside; what the function says of one order is for
`testkit.specification`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain

import asyncpg

from consumer import proof, reference
from consumer.read_models import Contribution, ReadModel
from runtime.sql import Queries, quoted
from schemas.connection import Connection
from testkit.delivery import Told
from testkit.events import Event
from testkit.rows import Row
from testkit.story import Story

_SQL = Queries("testkit", "queries.sql")

_SHOWN = 5  # differences of a relation
_TOLD = 3  # orders whose events are told


async def assert_true(
    database: str | Connection, told: Iterable[Told], read_model: str | ReadModel | None = None
) -> None:
    """Everything in the database (a URL or a connection) is as the events say that were delivered; `told` is the
    events, in order and once, or the deliveries made of them. With `read_model` (the name of a built-in one, or one of
    yours) that one alone. Two events for one version of an order have no truth: the first to arrive stays."""
    __tracebackhide__ = True
    story = Story(told)
    async with _connected(database) as connection:
        models = list(reference.KEYS) if read_model is None else [read_model]
        untrue = [await _read_model(connection, story, model) for model in models]
        untrue += await _books(connection, story) if read_model is None else []
        wrong = [found for found in untrue if found.differences]
        if wrong:
            raise AssertionError(await _report(connection, story, wrong))


@dataclass(frozen=True)
class _Finding:
    """A relation held against the story: where it differs, and which orders that concerns."""

    relation: str
    differences: list[str]
    orders: list[str]


async def _read_model(connection: Connection, story: Story, model: str | ReadModel) -> _Finding:
    expected, key = story.expected(model)
    actual = await _rows(connection, model)
    if actual and expected and (hidden := expected[0].keys() - actual[0].keys()):
        raise ValueError(f"its view hides {', '.join(sorted(hidden))}: compare by a SELECT of your own")
    differences = reference.compare(expected, actual, key, limit=_SHOWN + 1)
    orders = [order_id for one in differences for order_id in story.behind(model, one.key)]
    name = model if isinstance(model, str) else model.name
    return _Finding(f"read_model.{name}", [_text(one) for one in differences], orders)


def _text(one: reference.Difference) -> str:
    if one.column is not None:
        return str(one)
    if not one.actual:
        return f"{one.key}: no such row"
    return f"{one.key}: {'more than one row' if one.expected else 'a row that should not be there'}"


async def _rows(connection: Connection, model: str | ReadModel) -> list[Row]:
    name = model if isinstance(model, str) else model.name
    if name in reference.KEYS:
        return await proof.rows(connection, name)
    found = await connection.fetch(_SQL["read_model"].format(relation=f"read_model.{quoted(name)}"))
    rows = [dict(row) for row in found]
    if isinstance(model, Contribution):  # a row whose every figure is zero may be there or not
        values = [column.name for column in model.values]
        rows = [row for row in rows if any(row.get(value) for value in values)]
    return rows


async def _books(connection: Connection, story: Story) -> list[_Finding]:
    """What was applied, what waits and what is in dead letters. Who tells events alone doesn't know of broken
    records: then any number of unreadable ones is right."""
    settled = story.settled
    if not story.knows_broken:
        settled.dead += [("unreadable", None)] * await connection.fetchval(_SQL["unreadable"])
    checks = await proof.prove(connection, settled)
    books = [check for check in checks if check.name not in reference.KEYS]
    return [_Finding(f"projector.{check.name}", check.differences, []) for check in books]


async def _report(connection: Connection, story: Story, wrong: list[_Finding]) -> str:
    parts = [_differences(finding) for finding in wrong]
    concerned = dict.fromkeys(chain.from_iterable(finding.orders for finding in wrong))
    parts += [await _history(connection, story, order_id) for order_id in list(concerned)[:_TOLD]]
    if len(concerned) > _TOLD:
        parts.append(f"{len(concerned) - _TOLD} more orders are concerned.")
    return "\n\n".join([*parts, *([f"Delivered by {story.told_by}."] if story.told_by else [])])


def _differences(finding: _Finding) -> str:
    shown = finding.differences[:_SHOWN]
    more = ["…and more"] * (len(finding.differences) > _SHOWN)
    return "\n  ".join([f"{finding.relation} is not what the events say:", *shown, *more])


async def _history(connection: Connection, story: Story, order_id: str) -> str:
    """An order's events as they were meant, and what became of each."""
    fates: dict[tuple[str | None, str], str] = {}
    for row in await connection.fetch(_SQL["fates"], order_id):
        fates[row["event_source"], row["event_id"]] = row["fate"]
    lines = [_told(event, fates.pop((event["source"], event["id"]), "not there")) for event in story.history(order_id)]
    lines += [f"{fate}, which nobody told: {identity}" for identity, fate in fates.items()]
    erased = ", which is erased" * (order_id in story.settled.erased)
    return "\n  ".join([f"The events of order {order_id}{erased}, and what became of them:", *lines])


def _told(event: Event, fate: str) -> str:
    return f"{event['sequence']:>3}  {event['type']:<23}  {event['time']}  {event['id']}: {fate}"


@asynccontextmanager
async def _connected(database: str | Connection) -> AsyncIterator[Connection]:
    if not isinstance(database, str):
        yield database
        return
    connection: Connection = await asyncpg.connect(database)
    try:
        yield connection
    finally:
        await connection.close()
