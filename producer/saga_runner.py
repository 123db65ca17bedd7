"""Sagas driven: the outbox read in order by one leader, each event given to its order's saga, timers in their time.

A step, the commands that it asks for and the reader's place change in one transaction, in the database that holds the
orders. So a step has its effect once, whenever the process dies: either all of it is in, or the event comes again. A
step's cause is a key besides, for what no place says: timers.

Events that ask for nothing, and most do, go together in one transaction; one that asks for commands has its own, since
orders are locked in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple, Protocol

import structlog

from producer import outbox, saga_store
from producer.answers import Accepted
from producer.handler import CommandHandler
from producer.leading import CHANNEL, Leadership, Told
from producer.order import Command
from producer.outbox import OutboxRow
from producer.reader import Place, Reader
from producer.saga import NAME, Saga, Step, Terms, fall_due, react
from producer.saga_store import Taken
from runtime.awaiting import first_of
from runtime.failpoints import Failpoints
from runtime.settings import Settings
from schemas.connection import Connection
from schemas.errors import InvalidHistory, LostRace, UnreadableEvent

_log = structlog.get_logger("projector.sagas")

_PAGE = 200  # events
_TIMERS = 100  # at once
_IDLE = 1.0  # seconds until it looks by itself
_HELD = 0.02  # seconds until it looks again for what is written and not yet to be read
_RACES = 5  # tries of a step of which another writer was first


class Cause(NamedTuple):
    """What a step is for: an event, by its id, its type and the trace that it belongs to; or a timer."""

    id: str
    of: str
    traceparent: str | None


class SagaTold(Told, Protocol):
    """Who hears how it goes, and what sagas asked for."""

    def commanded(self, told: Iterable[Mapping[str, object]]) -> None: ...


class SagaRunner:
    """Runs the fulfilment sagas, or stands by; `run` returns when told to stop."""

    def __init__(
        self,
        settings: Settings,
        owner: str,
        handler: CommandHandler,
        told: SagaTold,
        failpoints: Failpoints | None = None,
    ) -> None:
        self._settings = settings
        self._owner = owner
        self._handler = handler
        self._told = told
        self._failpoints = failpoints or Failpoints(settings.failpoints)
        self._terms = Terms(timedelta(seconds=settings.payment_timeout), settings.delivery_attempts)
        self._reader = Reader(NAME, _PAGE)

    async def run(self, stop: asyncio.Event) -> None:
        """Lead, or stand by, until told to stop."""

        async def lead(connection: Connection) -> None:
            await self._lead(connection, stop)

        await Leadership(self._settings, NAME, self._told).run(stop, lead)

    async def _lead(self, connection: Connection, stop: asyncio.Event) -> None:
        await self._reader.take(connection, self._owner)
        await self._handler.prepare(connection)
        news = asyncio.Event()
        await connection.add_listener(CHANNEL, lambda *_: news.set())
        while not stop.is_set():
            news.clear()
            self._told.beat()
            await self._timers(connection)
            if await self._page(connection):
                continue
            due = await saga_store.next_due(connection)
            wait = _HELD if self._reader.held_for else _IDLE
            await first_of(stop, news, seconds=wait if due is None else min(max(due, 0.0), wait))

    async def _page(self, connection: Connection) -> bool:
        """Give the next events to their sagas; False if there were none."""
        page = await self._reader.page(connection)
        if not page.rows:
            return False
        sagas = await saga_store.read(connection, sorted({row.aggregateid for row in page.rows}))
        steps: list[Taken] = []
        touched: dict[str, Saga] = {}
        for row in page.rows:
            saga = sagas.get(row.aggregateid, saga_store.new(row.aggregateid))
            step = self._reacted(saga, row)
            if step is None:
                continue
            sagas[row.aggregateid] = step.saga
            if step.commands:
                await self._flush(connection, touched, steps, self._reader.before(row))
                await self._take(
                    connection, saga, step, Cause(row.id, row.type, row.traceparent), self._reader.upto(row)
                )
                touched, steps = {}, []
                continue
            touched[row.aggregateid] = step.saga
            if step.saga.stage != saga.stage:
                steps.append(Taken(row.aggregateid, row.id, row.type, saga.stage, step.saga.stage))
        await self._flush(connection, touched, steps, page.after)
        return True

    def _reacted(self, saga: Saga, row: OutboxRow) -> Step | None:
        """What the event leads to; None if it is nothing for a saga: another leader has given it to it, or what comes
        before it is not to be had (it was before sagas ran, and is pruned), or its order's history can't take it."""
        if row.sequence <= saga.order.version:
            return None
        why = "earlier events are missing"
        if row.sequence == saga.order.version + 1:
            try:
                return react(saga, outbox.read(row, self._settings.topics[0]), self._terms)
            except (InvalidHistory, UnreadableEvent) as error:
                why = type(error).__name__
        _log.warning("saga_event_ignored", event_id=row.id, event_type=row.type, why=why)
        return None

    async def _flush(
        self, connection: Connection, touched: dict[str, Saga], steps: Sequence[Taken], after: Place
    ) -> None:
        """Write steps that ask for nothing."""
        if after == self._reader.place:
            return
        async with connection.transaction():
            await self._reader.mark(connection, after)
            await saga_store.write(connection, [*touched.values()], steps)
            await self._failpoints.reach("saga_before_commit")
        self._reader.moved(after)

    async def _timers(self, connection: Connection) -> None:
        for saga in await saga_store.due(connection, _TIMERS):
            assert saga.timer is not None
            cause = Cause(f"{saga.timer.name} {saga.timer.due_at.isoformat()}", saga.timer.name, None)
            await self._take(connection, saga, fall_due(saga), cause, None)

    async def _take(self, connection: Connection, saga: Saga, step: Step, cause: Cause, after: Place | None) -> None:
        """Take a step with all that it asks for. `after` is where the reader is then, if it is for an event."""
        for race in range(_RACES):
            try:
                async with connection.transaction():
                    if after is not None:
                        await self._reader.mark(connection, after)
                    else:
                        await self._reader.hold(connection)
                    told = [
                        await self._command(connection, command, cause.traceparent, careful=race > 0)
                        for command in step.commands
                    ]
                    taken = Taken(saga.order.order_id, cause.id, cause.of, saga.stage, step.saga.stage, tuple(told))
                    await saga_store.write(connection, [step.saga], [taken])
                    await self._failpoints.reach("saga_before_commit")
                break
            except LostRace:
                if race == _RACES - 1:
                    raise
        await self._failpoints.reach("saga_after_commit")
        if after is not None:
            self._reader.moved(after)
        self._handler.committed()
        versions = [version for one in told if isinstance(version := one.get("version"), int)]
        if versions:
            self._handler.changed({saga.order.order_id: max(versions)})
        self._told.commanded(told)
        _log.info("saga_step", caused_by=cause.of, before=saga.stage, after=step.saga.stage, commands=len(told))

    async def _command(
        self, connection: Connection, command: Command, traceparent: str | None, *, careful: bool
    ) -> dict[str, object]:
        """What became of a command. One that the order's state forbids by now is part of the history, and no failure:
        what made it impossible is an event that comes to the saga as well."""
        answer = await self._handler.execute(connection, command, traceparent=traceparent, careful=careful)
        if isinstance(answer, Accepted):
            return {"command": command.kind, "version": answer.version}
        return {"command": command.kind, "refused": getattr(answer, "reason", "version_conflict")}
