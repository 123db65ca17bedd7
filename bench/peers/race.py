"""A peer against the clock, and the proof of what it left.

The clock starts at the first look (every 5 ms) that finds a row; the events that are in by then don't count. It
stops at the first look (every 10 ms) at which every order has its final version; looks are lookups of each
partition's last order until those are in, and only then is the whole table added up. Then every row is compared.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
from asyncpg import Record

from bench.peers.events import PeerLoad, Topics, status
from bench.peers.frame import Peer, Where, prepared
from bench.race import Race, cpu, running_still
from bench.stage import Stage, bare, connected, fresh_database, running
from bench.stream import Load
from bench.truth import WrongResult
from consumer import reference
from runtime.embedded.processes import Launch, ServerProcess
from runtime.sql import Queries
from schemas.connection import Connection

SQL = Queries("bench.peers", "queries.sql")

_TO_START = 120.0  # seconds to the first row: a JVM, a group, a first batch
_SLOWEST = 400  # events/s below which a run is given up
_ROUNDING = timedelta(milliseconds=1)  # the stream has times to the nanosecond, and not every driver rounds alike

Row = tuple[int, str, Any, str, str, Any]


class Rows:
    """The rows that a load has to leave behind, by order; worked out once, when they are first asked for."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._rows: dict[str, Row] = {}

    async def check(self, connection: Connection, name: str) -> None:
        """Raises WrongResult unless the peer's table holds exactly these."""
        if not self._rows:
            self._rows = await asyncio.to_thread(self._made)
        found = {row["order_id"]: _found(row) for row in await connection.fetch(SQL["rows"])}
        if wrong := differences(self._rows, found):
            raise WrongResult(f"{name}: {len(wrong)} orders are wrong, such as {wrong[0]}")

    def _made(self) -> dict[str, Row]:
        settled = self._load.settled()
        return {order_id: expected(history) for order_id, history in settled.applied.items()}


def expected(history: Sequence[dict[str, Any]]) -> Row:
    """The row of an order with these events: version, status, time, type, id and data of the newest."""
    newest = history[-1]
    data = orjson.loads(orjson.dumps(newest["data"], default=float))
    when = reference.instant(newest["time"])
    return newest["sequence"], status(list(history)), when, newest["type"], newest["id"], data


def _found(row: Record) -> Row:
    data = orjson.loads(row["data"])
    return row["version"], row["status"], row["occurred_at"], row["event_type"], row["event_id"], data


def differences(meant: dict[str, Row], found: dict[str, Row]) -> list[str]:
    """What is wrong, one line an order; times may be a millisecond off."""
    wrong = [f"{order_id}: not meant to be there" for order_id in found.keys() - meant.keys()]
    for order_id, row in meant.items():
        other = found.get(order_id)
        if other is None:
            wrong.append(f"{order_id}: missing")
        elif (*row[:2], *row[3:]) != (*other[:2], *other[3:]) or abs(row[2] - other[2]) > _ROUNDING:
            wrong.append(f"{order_id}: {other} instead of {row}")
    return wrong


async def race(on: Stage, topics: Topics, rows: Rows, peer: Peer) -> dict[str, float]:
    """Events per second and CPU per event of those that came after the first row; the table is proved."""
    home = await asyncio.to_thread(prepared, peer)
    load = await topics.of(peer.encoding)
    log = on.home / f"{peer.part}.log"
    with tempfile.TemporaryDirectory(prefix=f"{peer.part}-", dir=on.home) as work:
        async with fresh_database(on) as url, connected(on.at(url, load.topic)) as connection:
            await connection.execute(peer.tables.read_text("utf-8"))
            await connection.execute(SQL["by_index"])
            group = f"{peer.part}-{secrets.token_hex(4)}"
            where = Where(on.settings.kafka_bootstrap_servers, url, load.topic, group, Path(work))
            with running([_launch(peer, home, where, log)]) as workers:
                before, result = await _timed(on, connection, load, workers, log)
            await rows.check(connection, peer.part)
    return {**result.figures(), "events_before": before}


def _launch(peer: Peer, home: Path, where: Where, log: Path) -> Launch:
    environment = {**bare(), **where.environment()}
    return Launch(argv=peer.command(home, where), log=log, directory=where.work, environment=environment)


async def _timed(
    on: Stage, connection: Connection, load: PeerLoad, workers: Sequence[ServerProcess], log: Path
) -> tuple[int, Race]:
    """How many events were in when the clock started, and the race over the others."""
    look = await connection.prepare(SQL["applied"])
    deadline = time.monotonic() + _TO_START
    while not (already := await look.fetchval()):
        running_still(workers, log, deadline, "write their first row")
        await asyncio.sleep(0.005)
    began, before = time.perf_counter(), cpu(on, workers)
    if already >= load.events:
        raise WrongResult(f"all {already} events were in at the first look: too few of them for a figure")
    deadline = time.monotonic() + 60 + load.events / _SLOWEST
    last = await connection.prepare(SQL["last_ones"])
    orders, versions = list(load.last), list(load.last.values())
    while True:
        if await last.fetchval(orders, versions) == len(orders):
            seconds, after = time.perf_counter() - began, cpu(on, workers)
            if await look.fetchval() == load.events:
                break
        running_still(workers, log, deadline, f"apply {load.events} events")
        await asyncio.sleep(0.01)
    return already, Race(load.events - already, seconds, {who: after[who] - before[who] for who in after})
