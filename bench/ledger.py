"""`python -m bench.ledger`: what the duplicate check costs as the ledger grows, by kind of id.

Batches go in turn by the ledger's own code, into a ledger of 1, 10 and 50 million rows: events that are new (the insert
is the check), and the same ones again (looked up). Each measurement begins at a checkpoint, after which the first
touch of a page of an index writes the whole page to the log: the dearest time for random ids.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from statistics import median
from uuid import UUID

import asyncpg

from bench.ids import Kind, ordered_id, random_id
from bench.stage import POSTGRES, SQL
from consumer import ledger
from consumer.install import install
from consumer.journal import NO_RECORD
from consumer.ledger import SourceNumbers
from consumer.verdicts import identity
from runtime.embedded.postgres import EmbeddedPostgres
from schemas.connection import Connection
from schemas.events import Event

SOURCE = "/bench/orders"  # of the events that fill it

_DATA = '{"payment_id": "p-123456", "amount": "112.50"}'
_BATCH = 500  # events
_KINDS: tuple[Kind, ...] = ("random", "uuid7")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description=__doc__)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 10, 50], help="rows (1 10 50)")
    parser.add_argument("--batches", type=int, default=200, help=f"of {_BATCH} events each, at each size (200)")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    options = parser.parse_args()
    _say(f"seed {options.seed}")
    with EmbeddedPostgres(settings=POSTGRES) as server:
        asyncio.run(_run(server.url(), options))
    return 0


async def _run(url: str, options: argparse.Namespace) -> None:
    random = Random(options.seed)
    _say("| ids | rows | new: µs per event | known: µs per event | log, bytes per new event | key's index, MiB |")
    _say("|---|---:|---:|---:|---:|---:|")
    connection = await asyncpg.connect(url)
    try:
        await install(connection)
        numbers = SourceNumbers()
        await numbers.learn(connection, [SOURCE])
        for kind in _KINDS:
            await connection.execute(SQL["ledger_empty"])
            for millions in options.millions:
                await grow(connection, int(millions * 1_000_000), numbers[SOURCE], kind, datetime.now(UTC))
                _say(await _measured(connection, numbers, kind, options.batches, random))
    finally:
        await connection.close()


async def grow(connection: Connection, rows: int, source_no: int, kind: Kind, until: datetime) -> None:
    """Fill up to so many rows, a second apart and the last just before `until`, and build the indexes anew."""
    for name in ("ledger_bare", "ledger_no_versions"):
        await connection.execute(SQL[name])
    there = await connection.fetchval(SQL["ledger_rows"])
    fill = (there, rows - 1, source_no, kind == "uuid7", _DATA, until)
    await connection.execute(SQL["ledger_fill"], *fill, timeout=7_200)
    for name in ("ledger_work_memory", "ledger_key", "ledger_versions", "ledger_vacuum", "settle"):
        await connection.execute(SQL[name], timeout=7_200)


async def _measured(connection: Connection, numbers: SourceNumbers, kind: Kind, batches: int, random: Random) -> str:
    """A row of the table."""
    rows = await connection.fetchval(SQL["ledger_rows"])
    ids = {"random": random_id, "uuid7": _ordered_id}[kind]
    new: list[float] = []
    known: list[float] = []
    before = await connection.fetchval(SQL["log_place"])
    sent = [_batch(ids, random) for _ in range(batches)]
    for events in sent:
        began = time.perf_counter()
        async with connection.transaction():
            await ledger.append(connection, events, numbers)
        new.append(time.perf_counter() - began)
    log = float(await connection.fetchval(SQL["log_since"], before))
    for events in sent:
        began = time.perf_counter()
        found = await ledger.known(connection, [identity(event) for event in events], numbers)
        known.append(time.perf_counter() - began)
        assert len(found) == _BATCH
    size = await connection.fetchval(SQL["ledger_key_size"])
    cost, again = (median(one) / _BATCH * 1e6 for one in (new, known))
    return f"| {kind} | {rows:,} | {cost:.1f} | {again:.1f} | {log / batches / _BATCH:,.0f} | {size / 2**20:,.0f} |"


def _batch(ids: Callable[[Random], UUID], random: Random) -> list[Event]:
    now, order = datetime.now(UTC), random.getrandbits(40)
    made = []
    for number in range(_BATCH):
        name = str(ids(random))
        order_id = f"n-{order}-{number // 5}"
        made.append(Event(SOURCE, name, "order.placed", order_id, number % 5 + 1, now, None, _DATA, name, 1, NO_RECORD))
    return made


def _ordered_id(random: Random) -> UUID:
    return ordered_id(random, time.time_ns() // 1_000_000)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
