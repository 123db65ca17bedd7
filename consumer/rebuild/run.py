"""A rebuild from its beginning to the swap, or from where one that was killed has left it.

Nothing that this does before the swap is seen by anybody else, but for the trigger that notes which orders are
written. Every step is a transaction that can be run again; the record says which were done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from random import Random
from typing import Literal

import asyncpg
import structlog

from consumer.install import STATES, check_machinery, fingerprints, makes
from consumer.read_models import READ_MODELS, ReadModel
from consumer.read_models.kinds import Stored
from consumer.rebuild import as_of, duplicates, parts, records, shadow, unpark
from consumer.rebuild.catch_up import VAIN, CatchUp
from consumer.rebuild.compare import Comparison, compare
from consumer.rebuild.parts import Part
from consumer.rebuild.plan import LEDGER, Plan, choose, whole
from consumer.rebuild.records import Phase
from consumer.rebuild.shadow import BEFORE, SHADOW, SQL
from consumer.rebuild.swap import Behind, Swap, obstacles, until_swapped
from consumer.rebuild.terms import From, Options, Outcome, Progress, State, Tell
from runtime import postgres
from runtime.failpoints import Failpoints
from runtime.settings import Settings
from runtime.sql import quoted
from schemas.connection import Connection
from schemas.errors import ProjectorError, TryAgain

_log = structlog.get_logger("projector.rebuild")

_PAUSES = (0.2, 5.0)  # seconds between attempts to swap, growing


class _Ended(Exception):
    def __init__(self, state: Literal["cancelled", "stopped"]) -> None:
        super().__init__(state)
        self.state: Literal["cancelled", "stopped"] = state


class Rebuild:
    """One run. `tell` hears how far it is; `stop` ends it soon, and what was built is kept for the next run."""

    def __init__(
        self,
        settings: Settings,
        source: From,
        options: Options,
        models: Sequence[ReadModel] = READ_MODELS,
        tell: Tell = lambda progress: None,
        stop: asyncio.Event | None = None,
    ) -> None:
        self._settings = settings
        self._source = source
        self._options = options
        self._models = models
        self._tell = tell
        self._stop = stop or asyncio.Event()
        self._failpoints = Failpoints(settings.failpoints)
        self._random = Random()  # noqa: S311  pauses, not secrets
        self._progress = Progress("read")
        self._number = 0
        self._folded = 0
        self._resumed = False

    async def run(self) -> Outcome:
        """Raises Refused if it can't be done, Unavailable if something is away; run it again, and it goes on."""
        began = time.monotonic()
        async with shadow.session(self._settings) as connection, shadow.alone(connection):
            await check_machinery(connection, self._models)
            installed = await fingerprints(connection)
            options = self._options
            made, source = makes(self._models), self._source.source
            if options.copy is not None:
                await as_of.free(connection, options.copy)
                plan = whole(self._models, made, source, f"{options.copy} as of {self._source.until}")
            elif chosen := choose(self._models, made, installed, options.names, source, changed=options.changed):
                plan = chosen
                changed = [one for one in self._models if isinstance(one, Stored) and one.name in plan.changed]
                await obstacles(connection, plan.tables, changed, self._models)
            else:
                return Outcome("unchanged")
            await self._source.preflight(connection)
            async with self._recorded(connection):
                state, comparison = await self._steps(connection, plan)
            seconds = time.monotonic() - began
            return Outcome(state, plan.names, self._folded, seconds, self._resumed, comparison)

    @asynccontextmanager
    async def _recorded(self, connection: Connection) -> AsyncIterator[None]:
        """The record says how it ended, as long as there is a connection to say it on."""
        try:
            with postgres.translated():
                yield
        except ProjectorError as error:
            if self._number and not connection.is_closed():
                await records.end(connection, self._number, "failed", str(error))
                await shadow.release(connection)
            raise
        finally:
            self._source.close()

    async def _steps(self, connection: Connection, plan: Plan) -> tuple[State, Comparison]:
        stored = [model for model in self._models if isinstance(model, Stored) and model.name in plan.stored]
        comparison = Comparison()
        try:
            phase = await self._begin(connection, plan, stored)
            if phase in ("read", "bulk"):
                await self._bulk(connection, plan, stored)
            if self._options.copy is not None:
                await self._copied(connection, plan, self._options.copy)
                return "copied", comparison
            catch_up = CatchUp(SHADOW, stored, ledger=plan.ledger)
            await self._catch_up(connection, catch_up)
            comparison = await self._compared(connection, plan, stored)
            if comparison.unexpected and not self._options.accept:
                return await self._kept(connection, "differs"), comparison
            if not self._options.swap:
                return await self._kept(connection, "kept"), comparison
            await self._swap(connection, plan, stored, catch_up)
        except _Ended as ended:
            await self._put_down(connection, ended.state)
            return ended.state, comparison
        return "swapped", comparison

    async def _begin(self, connection: Connection, plan: Plan, stored: Sequence[Stored]) -> Phase:
        """Go on with what is there, if it is what is wanted; else begin."""
        found = await records.last(connection)
        if found is not None and found.state != "cancelling" and found.plan == plan.as_json():
            self._number, self._resumed, self._folded = found.number, True, found.events
            await records.again(connection, found.number)
            phase = found.phase
        else:
            await shadow.release(connection)
            await shadow.drop(connection, SHADOW)
            bounds = await self._source.bounds(connection)
            async with connection.transaction():
                await shadow.create(connection, plan, stored, bounds)
                self._number = await records.begin(connection, plan, "read")
            phase = "read"
        await self._failpoints.reach("rebuild_created")
        if plan.copy is None:  # else what is written meanwhile is later anyhow
            await shadow.capture(connection)
        await self._failpoints.reach("rebuild_capture")
        _log.info("rebuild_started", number=self._number, read_models=plan.names, resumed=self._resumed)
        return phase

    async def _bulk(self, connection: Connection, plan: Plan, stored: Sequence[Stored]) -> None:
        rows = await connection.fetch(SQL["parts_read"].format(schema=quoted(SHADOW)))
        self._folded = sum(row["events"] or 0 for row in rows)
        left = [Part(row["part"], row["first"], row["end"]) for row in rows if row["events"] is None]
        self._progress = Progress("read")
        await self._source.read(connection, left, self._told)
        await self._go_on(connection, "bulk")
        began, done = time.monotonic(), len(rows) - len(left)
        async for _, events in parts.build(self._source.job(plan, stored), left, self._options.processes):
            self._folded += events
            done += 1
            self._progress.events += events
            self._progress.expected = round(self._progress.events * len(left) / (done - len(rows) + len(left)))
            self._tell(self._progress)
            await self._failpoints.reach("rebuild_bulk")
            await self._look(connection)
            if self._options.throttle:
                await self._until(began + self._progress.events / self._options.throttle)
        names = [STATES, *plan.stored, *(LEDGER if plan.ledger else [])]
        try:
            await self._index(connection, names, stored)
        except asyncpg.UniqueViolationError:
            async with connection.transaction():
                rivals = await duplicates.settle(connection, stored)
            _log.info("rivals_settled", orders=rivals)
            await self._index(connection, names, stored)
        await shadow.analyze(connection, names)
        await self._failpoints.reach("rebuild_indexed")

    async def _index(self, connection: Connection, names: Sequence[str], stored: Sequence[Stored]) -> None:
        async with connection.transaction():
            await shadow.index(connection, names, stored)
            await records.phase(connection, self._number, "catch_up")

    def _told(self, events: int, expected: int) -> None:
        self._progress.events, self._progress.expected = events, expected
        self._tell(self._progress)

    async def _catch_up(self, connection: Connection, catch_up: CatchUp) -> None:
        """Whatever differs in its version is noted too: what the bulk's source didn't have, or what nobody noted
        between two runs."""
        await self._go_on(connection, "catch_up")
        await connection.execute(SQL["touched_differing"].format(schema=quoted(SHADOW)))
        await self._nearer(connection, catch_up)

    async def _nearer(self, connection: Connection, catch_up: CatchUp, patience: int = VAIN) -> None:
        async def told(folded: int) -> None:
            self._progress.events += folded
            self._tell(self._progress)
            await self._failpoints.reach("rebuild_catch_up")
            await self._look(connection)

        await catch_up.nearer(connection, told, patience)

    async def _compared(self, connection: Connection, plan: Plan, stored: Sequence[Stored]) -> Comparison:
        await self._go_on(connection, "compare")
        found = await compare(connection, plan, stored)
        await self._failpoints.reach("rebuild_compare")
        return found

    async def _swap(self, connection: Connection, plan: Plan, stored: Sequence[Stored], catch_up: CatchUp) -> None:
        await self._go_on(connection, "swap")
        await shadow.drop(connection, BEFORE)
        changed = [model for model in stored if model.name in plan.changed]
        taken_over = {name: plan.makes[name] for name in plan.names if name in plan.makes}
        swap = Swap(SHADOW, plan.tables, taken_over, changed, bool(plan.changed), self._number)
        await self._nearer(connection, catch_up)  # what was written during the comparison
        once = partial(swap.attempt, connection, catch_up, self._failpoints)
        await until_swapped(connection, once, partial(self._in_the_way, connection, catch_up))
        await self._failpoints.reach("rebuild_swapped")
        await shadow.drop(connection, SHADOW)
        if freed := await unpark.free(connection, self._models):
            _log.info("parked_freed", events=freed)

    async def _in_the_way(self, connection: Connection, catch_up: CatchUp, error: TryAgain) -> None:
        self._progress.attempts += 1
        _log.info("swap_again", reason=str(error), attempt=self._progress.attempts)
        self._tell(self._progress)
        if not isinstance(error, Behind):
            least, most = _PAUSES
            pause = min(most, least * 2 ** min(self._progress.attempts, 8)) * self._random.uniform(0.5, 1.0)
            await self._until(time.monotonic() + pause)
        await self._look(connection)
        await self._nearer(connection, catch_up, 1 if isinstance(error, Behind) else VAIN)

    async def _copied(self, connection: Connection, plan: Plan, schema: str) -> None:
        await as_of.materialise(connection, plan, self._models, schema)
        await records.end(connection, self._number, "copied")
        await shadow.drop(connection, SHADOW)

    async def _kept(self, connection: Connection, state: Literal["kept", "differs"]) -> State:
        await shadow.release(connection)
        error = "live and rebuilt differ" if state == "differs" else None
        await records.end(connection, self._number, "failed" if error else "kept", error)
        return state

    async def _put_down(self, connection: Connection, state: Literal["cancelled", "stopped"]) -> None:
        await shadow.release(connection)
        if state == "cancelled":
            await shadow.drop(connection, SHADOW)
            await records.end(connection, self._number, "cancelled")
        else:
            await records.end(connection, self._number, "failed", "told to stop")

    async def _go_on(self, connection: Connection, phase: Phase) -> None:
        await self._look(connection)
        await records.phase(connection, self._number, phase)
        self._progress = Progress(phase)
        self._tell(self._progress)

    async def _look(self, connection: Connection) -> None:
        """Has somebody asked for an end?"""
        if not await records.progress(connection, self._number, self._folded, self._progress.expected):
            raise _Ended("cancelled")
        if self._stop.is_set():
            raise _Ended("stopped")

    async def _until(self, moment: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), max(moment - time.monotonic(), 0))
