"""A Quix Streams application: the topic, and its PostgreSQL sink.

What it follows in Quix Streams' documentation: "PostgreSQL Sink" (`primary_key_columns` with
`upsert_on_primary_key`; values are dictionaries) and "Checkpointing" (the sink writes what it has collected when a
checkpoint is committed; longer intervals mean fewer and larger writes). The checkpoint's default is every 5 s; here it
is also every 20,000 records and every second, so that the end of the stream doesn't wait for seconds with nothing to
do. The table is there already, so the sink neither looks for new columns nor adds its own.
"""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from quixstreams import Application
from quixstreams.sinks.community.postgresql import PostgreSQLSink

at = urlsplit(os.environ["DATABASE_URL"])

app = Application(
    broker_address=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
    consumer_group=os.environ["PEER_GROUP"],
    auto_offset_reset="earliest",
    commit_interval=1.0,
    commit_every=20_000,
    loglevel="WARNING",
)
sink = PostgreSQLSink(
    host=at.hostname or "localhost",
    port=at.port or 5432,
    dbname=at.path.lstrip("/"),
    user=at.username or "",
    password=at.password or "",
    table_name="orders",
    primary_key_columns=["order_id"],
    upsert_on_primary_key=True,
    schema_auto_update=False,
    include_metadata=False,
)
app.dataframe(app.topic(os.environ["PEER_TOPIC"], key_deserializer="str", value_deserializer="json")).sink(sink)

if __name__ == "__main__":
    app.run()
