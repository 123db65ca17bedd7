"""Commands carried out: the order's new state, its events in the outbox and the answer's key in one transaction.

    key    → the answer that was given under it before; or another command's key; or one that is under way
    order  → locked, so commands on one order take turns, and versions have no holes
    decide → events or a refusal (producer.order)
    write  → order, outbox, key; and, local-first, the read models, by the consumer's own processor

A COMMIT that nobody answers may have happened: before a command is tried again its event is looked for in the outbox,
under the id that was made before the first try.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from uuid_utils import uuid7

from producer import answers, order_json, outbox
from producer.answers import Accepted, Answer, Key, KeyInProgress, KeyReused, Refused, VersionConflict
from producer.order import Command, Refusal, decide
from producer.outbox import SQL, OutboxRow
from runtime.attempts import OnRetry, until_done
from runtime.failpoints import Failpoints
from runtime.postgres import affected, leased
from schemas.connection import Connection, Pool
from schemas.errors import LostRace, Unavailable
from schemas.events import Event
from schemas.order import OrderState, evolve
from schemas.wire import MAX_BYTES

_ACQUIRE = 5.0  # seconds to wait for a connection
_TRIES = 5


class Project(Protocol):
    """Local-first: apply events to the read models, in the command's own transaction."""

    async def prepare(self, connection: Connection, source: str) -> None:
        """Called before the transaction."""

    async def apply(self, connection: Connection, events: Sequence[Event], *, careful: bool) -> int:
        """Called inside it, with an order's events; the version at which its read models stand then. Raises LostRace if
        another writer was first."""

    def doubt(self) -> None:
        """PostgreSQL was away."""


class CommandHandler:
    """Carries commands out. After each that has made events `committed` is called, to wake the relay, and `changed`
    with the order's new version, for who keeps copies of orders; whoever calls `execute` calls both too."""

    def __init__(
        self,
        pool: Pool,
        *,
        source: str,
        topic: str,
        project: Project | None = None,
        committed: Callable[[], None] = lambda: None,
        changed: Callable[[Mapping[str, int]], None] = lambda versions: None,
        failpoints: Failpoints | None = None,
    ) -> None:
        self._pool = pool
        self._source = source
        self._topic = topic
        self._project = project
        self.committed = committed
        self.changed = changed
        self._failpoints = failpoints or Failpoints()

    async def handle(
        self,
        command: Command,
        *,
        expected_version: int | None = None,
        key: Key | None = None,
        traceparent: str | None = None,
        on_retry: OnRetry = lambda error, attempt: None,
    ) -> Answer:
        """Carry a command out, in a transaction of its own.

        Raises Unavailable if PostgreSQL can't be reached or refuses for now; then the command may have been done, and
        sending it again with the same key is right.
        """
        once = _Once(self, command, expected_version, key, traceparent)

        def again(error: BaseException, attempt: int) -> None:
            if self._project is not None and isinstance(error, Unavailable):
                self._project.doubt()
            on_retry(error, attempt)

        answer = await until_done(partial(self._attempt, once), again, tries=_TRIES)
        if isinstance(answer, Accepted) and not answer.repeated:
            self.committed()
            self.changed({answer.order_id: answer.version})
        return answer

    async def prepare(self, connection: Connection) -> None:
        """To be called before a transaction in which `execute` is."""
        if self._project is not None:
            await self._project.prepare(connection, self._source)

    async def execute(
        self,
        connection: Connection,
        command: Command,
        *,
        expected_version: int | None = None,
        event_id: str | None = None,
        traceparent: str | None = None,
        careful: bool = False,
    ) -> Accepted | Refused | VersionConflict:
        """Carry a command out in the caller's transaction, which is to be rolled back and run again on LostRace."""
        state = await self._locked(connection, command.order_id)
        if expected_version is not None and expected_version != state.version:
            return VersionConflict(command.order_id, state.version)
        decided = decide(command, state)
        if isinstance(decided, Refusal):
            return Refused(command.order_id, state.version, decided.reason, decided.why)
        ids = [event_id or str(uuid7()), *(str(uuid7()) for _ in decided[1:])]
        now = datetime.now(UTC)
        events, rows, after = [], [], state
        for new, one in zip(decided, ids, strict=True):
            row = OutboxRow(
                0,
                one,
                command.order_id,
                new.type,
                after.version + 1,
                self._source,
                "1.0",
                outbox.rfc3339(now),
                traceparent,
                outbox.payload_of(new.data),
            )
            if len(row.payload.encode()) > MAX_BYTES:
                return Refused(command.order_id, state.version, "too_large", f"more than {MAX_BYTES} bytes of data")
            events.append(outbox.new_event(row, new.data, now, self._topic))
            rows.append(row)
            after = evolve(after, events[-1])
        await self._write(connection, state.version, after)
        await outbox.add(connection, rows, now)
        if self._project is not None:
            await self._shown(connection, self._project, events, careful=careful)
        return Accepted(command.order_id, after.version)

    async def _attempt(self, once: _Once, *, careful: bool) -> Answer:
        async with leased(self._pool, _ACQUIRE) as connection:
            await self.prepare(connection)
            await self._failpoints.reach("command_before_tx")
            async with connection.transaction():
                answer = await once.run(connection, careful=careful)
                await self._failpoints.reach("command_before_commit")
            await self._failpoints.reach("command_after_commit")
            return answer

    async def _shown(self, connection: Connection, project: Project, events: Sequence[Event], *, careful: bool) -> None:
        """Have the events shown at once. Of an order that was changed by other modes' commands a moment ago, what is
        still on its way goes first, from the outbox; should it be there no more, these events wait for it."""
        first = events[0]
        stands = await project.apply(connection, events, careful=careful)
        if stands < first.version - 1:
            rows = await outbox.of_order(connection, first.order_id, stands, first.version)
            missing = [outbox.read(row, self._topic) for row in rows]
            if missing:
                await project.apply(connection, missing, careful=careful)

    async def _locked(self, connection: Connection, order_id: str) -> OrderState:
        text = await connection.fetchval(SQL["order_lock"], order_id)
        return OrderState(order_id) if text is None else order_json.load(text)

    async def _write(self, connection: Connection, before: int, after: OrderState) -> None:
        text = order_json.dump(after)
        written = await connection.execute(SQL["order_write"], after.order_id, after.version, text, before)
        if affected(written) != 1:
            raise LostRace("another command changed the order")  # that placed it at the same moment


class _Once:
    """One command and what is the same in all its tries."""

    def __init__(
        self,
        handler: CommandHandler,
        command: Command,
        expected_version: int | None,
        key: Key | None,
        traceparent: str | None,
    ) -> None:
        self._handler = handler
        self._command = command
        self._expected = expected_version
        self._key = key
        self._traceparent = traceparent
        self._event_id = str(uuid7())
        self._fingerprint = answers.fingerprint(command, expected_version) if key else ""
        self._tried = False

    async def run(self, connection: Connection, *, careful: bool) -> Answer:
        if self._key is not None:
            found = await connection.fetchrow(SQL["key_look"], self._key.scope, self._key.key)
            assert found is not None
            if found["answer"] is not None:
                same = found["fingerprint"] == self._fingerprint
                return answers.load(found["answer"], self._event_id) if same else KeyReused()
            if not found["free"]:
                return KeyInProgress()
        elif self._tried:
            done = await connection.fetchval(SQL["outbox_has"], self._command.order_id, self._event_id)
            if done is not None:
                return Accepted(self._command.order_id, done)
        self._tried = True
        answer = await self._handler.execute(
            connection,
            self._command,
            expected_version=self._expected,
            event_id=self._event_id,
            traceparent=self._traceparent,
            careful=careful,
        )
        if self._key is not None:
            await connection.execute(
                SQL["key_keep"], self._key.scope, self._key.key, self._fingerprint, answers.dump(answer, self._event_id)
            )
        return answer
