"""The relay: outbox rows into Kafka, in order, by one leader with others standing by.

    lead   → the session's advisory lock, and the reader's next epoch (producer.reader)
    page   → the next rows that can't be preceded by others any more
    send   → all of them, in order, by an idempotent producer; every one acknowledged, or none is marked
    mark   → by compare-and-set on the epoch, in a transaction of its own, after the acknowledgements

A relay that dies between the last two sends the page again: consumers know an event by its id. After a send that fails
or that nobody answers the producer is given up, and what isn't marked is sent again by another, from the first row on:
so the first copies of an order's events are in version order whatever happens.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer

from producer import sending
from producer.held import Held, RecordRefused, refusal
from producer.leading import CHANNEL, Leadership
from producer.outbox import SQL, OutboxRow
from producer.reader import Place, Reader
from producer.relay_observation import RelayObservation
from runtime import kafka
from runtime.awaiting import first_of
from runtime.failpoints import Failpoints
from runtime.postgres import affected
from runtime.settings import Settings
from schemas.connection import Connection
from schemas.errors import Unavailable

_log = structlog.get_logger("projector.relay")

NAME = "relay"

_PAGE = 500  # rows, at most 1 MiB each
_BATCH = 256 * 1024  # bytes that go to a partition at once
_SEND = 30.0  # seconds for a page to be acknowledged
_IDLE = 1.0  # seconds until it looks by itself, should no notification come
_SOON = (0.002, 0.05)  # seconds until it looks again for what is written and not yet to be read
_MEASURE = 5.0  # seconds between two looks at what waits
_COUNTED = 100_000  # rows that wait, beyond which nobody counts
_HELD_LONG = 30.0  # seconds that an open transaction holds rows up, after which the log says so
_RETRY = 60.0  # seconds between two tries to send what is held
_UPKEEP = 600.0  # seconds between two looks at partitions and old keys
_DAYS_AHEAD = 7
_KEYS_AT_ONCE = 10_000


class Relay:
    """One of the relays; `run` returns when told to stop, after the page in hand."""

    def __init__(
        self, settings: Settings, owner: str, observation: RelayObservation, failpoints: Failpoints | None = None
    ) -> None:
        self._settings = settings
        self._owner = owner
        self._observation = observation
        self._failpoints = failpoints or Failpoints(settings.failpoints)
        self._reader = Reader(NAME, _PAGE)
        self._held = Held(NAME)
        self._one_by_one = False  # Kafka has refused a record of the page in hand: find out which
        self._measure_at = self._upkeep_at = self._retry_at = 0.0  # time.monotonic

    async def run(self, stop: asyncio.Event) -> None:
        """Lead, or stand by, until told to stop."""

        async def lead(connection: Connection) -> None:
            async with kafka.producer(self._settings, linger_ms=0, batch_bytes=_BATCH) as producer:
                await self._lead(connection, producer, stop)

        await Leadership(self._settings, NAME, self._observation).run(stop, lead)

    async def _lead(self, connection: Connection, producer: AIOKafkaProducer, stop: asyncio.Event) -> None:
        await self._reader.take(connection, self._owner)
        await self._held.load(connection)
        news = asyncio.Event()
        await connection.add_listener(CHANNEL, lambda *_: news.set())
        soon = _SOON[0]
        while not stop.is_set():
            news.clear()
            await self._look_after(connection)
            if await self._page(connection, producer):
                soon = _SOON[0]
                continue
            held = self._reader.held_for > 0
            soon = min(soon * 2, _SOON[1]) if held else _SOON[0]
            await first_of(stop, news, seconds=soon if held else _IDLE)

    async def _look_after(self, connection: Connection) -> None:
        """From time to time: what the metrics tell, and what has to go."""
        now = time.monotonic()
        self._observation.beat()
        if now >= self._measure_at:
            self._measure_at = now + _MEASURE
            if (place := self._reader.unmarked) is not None:
                await self._mark(connection, place)
            lag = await connection.fetchrow(SQL["outbox_lag"], NAME, _COUNTED)
            pending, oldest = lag or (0, 0.0)
            self._observation.lags(pending, oldest, self._reader.held_for, len(self._held.orders))
            if self._reader.held_for > _HELD_LONG:
                _log.warning("outbox_held_up", seconds=round(self._reader.held_for), rows=pending)
        if now >= self._upkeep_at:
            self._upkeep_at = now + _UPKEEP
            await self._keep_up(connection)
        if now >= self._retry_at:
            self._retry_at = now + _RETRY
            await self._retry_held(connection)

    async def _keep_up(self, connection: Connection) -> None:
        """Partitions to come and to go, and old keys. Where somebody is in the way, the next time will do."""
        try:
            await connection.fetchval(SQL["partitions_make"], _DAYS_AHEAD)
            dropped = await connection.fetch(SQL["partitions_drop"], self._settings.outbox_days)
        except asyncpg.LockNotAvailableError:
            self._upkeep_at = time.monotonic() + _MEASURE
        else:
            if dropped:
                _log.info("outbox_pruned", partitions=[row["dropped"] for row in dropped])
        oldest = self._settings.idempotency_hours * 3600.0
        while affected(await connection.execute(SQL["keys_drop"], oldest, _KEYS_AT_ONCE)) == _KEYS_AT_ONCE:
            pass

    async def _page(self, connection: Connection, producer: AIOKafkaProducer) -> bool:
        """Publish the next rows; False if there were none."""
        page = await self._reader.page(connection)
        if not page.rows:
            return False
        await self._failpoints.reach("relay_before_send")
        if self._one_by_one:
            await self._rows(connection, producer, page.rows)
        else:
            try:
                await self._send(producer, self._unheld(page.rows))
            except RecordRefused:
                self._one_by_one = True
                raise
        await self._failpoints.reach("relay_after_send")
        await self._mark(connection, page.after)
        self._one_by_one = False
        self._observation.published(self._unheld(page.rows))
        return True

    async def _rows(self, connection: Connection, producer: AIOKafkaProducer, rows: Sequence[OutboxRow]) -> None:
        """Row by row, each marked by itself. An order whose row is refused is held, and all begins anew behind it."""
        for row in rows:
            try:
                await self._send(producer, self._unheld([row]))
            except RecordRefused as error:
                after = self._reader.upto(row)
                async with connection.transaction():
                    await self._reader.mark(connection, after)
                    await self._held.hold(connection, row, str(error))
                self._reader.moved(after)
                _log.error("outbox_event_held", event_id=row.id, event_type=row.type, error=str(error))
                raise
            await self._mark(connection, self._reader.upto(row))

    def _unheld(self, rows: Sequence[OutboxRow]) -> list[OutboxRow]:
        return [row for row in rows if row.aggregateid not in self._held.orders]

    async def _retry_held(self, connection: Connection) -> None:
        for order in sorted(self._held.orders):
            with suppress(Unavailable):  # it stays held, and is in no other's way
                async with kafka.producer(self._settings, linger_ms=0, batch_bytes=_BATCH) as producer:
                    send = partial(self._send, producer)
                    marking = partial(self._reader.hold, connection)
                    await self._held.retry(connection, order, self._reader.place, send, marking)

    async def _send(self, producer: AIOKafkaProducer, rows: Sequence[OutboxRow]) -> None:
        """Raises Unavailable unless all of them are acknowledged; RecordRefused if it is for one of them."""
        try:
            with kafka.translated():
                await sending.send(producer, self._settings.topics[0], rows, _SEND)
        except Unavailable as error:
            raise refusal(error) or error from error.__cause__

    async def _mark(self, connection: Connection, after: Place) -> None:
        async with connection.transaction():
            await self._reader.mark(connection, after)
            await self._failpoints.reach("relay_before_mark")
        self._reader.moved(after)
