"""One leader, and others that stand by: whoever follows the outbox does it alone, for as long as its session lives.

The lock belongs to the session, so a process that dies lets go of it at once. That a leader which has lost its session
without noticing does no harm is not the lock's merit but the epoch's (producer.reader).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import structlog

from producer.outbox import SQL
from runtime import postgres
from runtime.attempts import until_done
from runtime.awaiting import first_of
from runtime.settings import Settings
from schemas.connection import Connection
from schemas.errors import OutOfPlace, TryAgain, Unavailable

_log = structlog.get_logger("projector.leading")

_STANDBY = 0.5  # seconds between two tries to become the leader
_SHORT = 1.0  # seconds of leading that count as a failed try
CHANNEL = "write_model.outbox"


class Told(Protocol):
    """Who hears how it goes."""

    def leads(self, leading: bool) -> None:
        """It is the leader now, or no more."""

    def beat(self) -> None:
        """PostgreSQL has answered."""

    def failed(self, why: str) -> None:
        """It has to begin anew: a dependency is away, or another one leads."""


class Leadership:
    """Leads a reader of the outbox, or stands by, until told to stop."""

    def __init__(self, settings: Settings, name: str, told: Told) -> None:
        self._settings = settings
        self._name = name
        self._told = told

    async def run(self, stop: asyncio.Event, lead: Callable[[Connection], Awaitable[None]]) -> None:
        """Call `lead` whenever we are the leader, with the session that makes us so. It returns when told to stop; what
        it fails with, if it is away for now, has us begin anew. What is away is waited for, for as long as it takes."""
        while not stop.is_set():
            await until_done(partial(self._session, stop, lead), self._again)

    def _again(self, error: BaseException, attempt: int) -> None:
        self._told.failed(str(error))
        _log.warning("outbox_interrupted", reader=self._name, error=str(error), attempt=attempt)

    async def _session(
        self, stop: asyncio.Event, lead: Callable[[Connection], Awaitable[None]], *, careful: bool
    ) -> None:
        """Raises Unavailable if it came to nothing; what has led for a while begins anew without a pause."""
        began = None
        try:
            # A pool of one: its connections have time limits on all that they wait for.
            async with (
                postgres.pool(self._settings, f"projector-{self._name}", 1) as pool,
                postgres.leased(pool, self._settings.connect_timeout) as connection,
            ):
                try:
                    if await self._wait(connection, stop):
                        began = asyncio.get_running_loop().time()
                        _log.info("outbox_led", reader=self._name)
                        self._told.leads(True)
                        await lead(connection)
                finally:
                    self._told.leads(False)
                    connection.terminate()  # and the lock is free, at once
        except (TryAgain, OutOfPlace) as error:
            if began is None or asyncio.get_running_loop().time() - began < _SHORT:
                raise Unavailable(str(error)) from None
            self._again(error, 1)

    async def _wait(self, connection: Connection, stop: asyncio.Event) -> bool:
        """Until we are the leader; False if told to stop before."""
        while not stop.is_set():
            self._told.beat()
            if await connection.fetchval(SQL["reader_lock"], self._name):
                return True
            await first_of(stop, seconds=_STANDBY)
        return False
