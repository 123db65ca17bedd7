"""A consumer with aiokafka and asyncpg: a batch, one upsert, then the position into Kafka.

aiokafka's documentation ("Manual vs automatic committing", "Consumer: getmany") has the loop; asyncpg's recommends
arrays and `unnest` for many rows in one statement. At least once: a batch that was written and whose position was not
comes again and changes nothing. A record that can't be read ends it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import uvloop
from aiokafka import AIOKafkaConsumer

UPSERT = (Path(__file__).resolve().parents[1] / "upsert.sql").read_text("utf-8")
BATCH = 5_000  # records at most, as many as `projector worker` takes

Row = tuple[str, int, str, datetime, str, str, str]


def row(record: Any) -> Row:
    """A CloudEvent in binary mode as a row; `data` stays text, which PostgreSQL parses."""
    told = dict(record.headers)
    return (
        told["ce_subject"].decode(),
        int(told["ce_sequence"]),
        told["ce_orderstatus"].decode(),
        datetime.fromisoformat(told["ce_time"].decode()),
        told["ce_type"].decode(),
        told["ce_id"].decode(),
        record.value.decode(),
    )


def newest(rows: Iterable[Row]) -> list[Row]:
    """One row an order, sorted by it so that two consumers never wait for each other's locks in a circle."""
    found: dict[str, Row] = {}
    for one in rows:
        known = found.get(one[0])
        if known is None or one[1] > known[1]:
            found[one[0]] = one
    return sorted(found.values())


async def consume(stop: asyncio.Event) -> None:
    """Until `stop`."""
    consumer = AIOKafkaConsumer(
        os.environ["PEER_TOPIC"],
        bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        group_id=os.environ["PEER_GROUP"],
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    await consumer.start()
    try:
        while not stop.is_set():
            fetched = await consumer.getmany(timeout_ms=200, max_records=BATCH)
            if not fetched:
                continue
            rows = newest(row(record) for records in fetched.values() for record in records)
            await connection.execute(UPSERT, *map(list, zip(*rows, strict=True)))
            await consumer.commit()
    finally:
        await consumer.stop()
        await connection.close()


async def main() -> None:
    stop = asyncio.Event()
    for what in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(what, stop.set)
    await consume(stop)


if __name__ == "__main__":
    uvloop.run(main())
