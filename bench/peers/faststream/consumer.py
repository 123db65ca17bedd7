"""A FastStream application: a batch subscriber whose handler writes the batch in one statement.

What it follows in FastStream's documentation: "Batch Subscriber" (`batch=True`, the body is a list), "Consuming
Acknowledgements" (`NACK_ON_ERROR` commits the offsets after the handler and reads a failed batch again), "Annotation
Serialization" (bodies as `dict`, orjson installed so that it is used), "Lifespan: Hooks" (the connection).
`max_records` is as many as `projector worker` takes. A batch that can't be written comes again and again.
"""

from __future__ import annotations

import logging
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import uvloop
from faststream import AckPolicy, Context, ContextRepo, FastStream
from faststream.kafka import KafkaBroker

UPSERT = (Path(__file__).resolve().parents[1] / "upsert.sql").read_text("utf-8")
BATCH = 5_000

broker = KafkaBroker(os.environ["KAFKA_BOOTSTRAP_SERVERS"], log_level=logging.DEBUG)  # not a line per batch
app = FastStream(broker)


@app.on_startup
async def connect(context: ContextRepo) -> None:
    context.set_global("database", await asyncpg.connect(os.environ["DATABASE_URL"]))


@app.after_shutdown
async def disconnect(context: ContextRepo) -> None:
    await context.get("database").close()


@broker.subscriber(
    os.environ["PEER_TOPIC"],
    group_id=os.environ["PEER_GROUP"],
    batch=True,
    max_records=BATCH,
    auto_offset_reset="earliest",
    ack_policy=AckPolicy.NACK_ON_ERROR,
)
async def keep(events: list[dict[str, Any]], database: asyncpg.Connection = Context()) -> None:  # noqa: B008  as its docs do
    """The newest of each order, sorted by it so that two consumers never wait for each other in a circle."""
    newest: dict[str, dict[str, Any]] = {}
    for event in events:
        known = newest.get(event["order_id"])
        if known is None or event["version"] > known["version"]:
            newest[event["order_id"]] = event
    rows = [newest[order_id] for order_id in sorted(newest)]
    await database.execute(
        UPSERT,
        [row["order_id"] for row in rows],
        [row["version"] for row in rows],
        [row["status"] for row in rows],
        [datetime.fromisoformat(row["occurred_at"]) for row in rows],
        [row["event_type"] for row in rows],
        [row["event_id"] for row in rows],
        [orjson.dumps(row["data"]).decode() for row in rows],
    )


if __name__ == "__main__":
    uvloop.run(app.run())
