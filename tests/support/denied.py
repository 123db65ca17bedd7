"""What each role of schemas/roles.sql has no right to: (login, statement)."""

from __future__ import annotations

DENIED: list[tuple[str, str]] = [
    *(
        ("worker", statement)
        for statement in (
            "DROP TABLE projector.orders",
            "DROP VIEW read_model.order_summary",
            "DROP SCHEMA read_model CASCADE",
            "TRUNCATE projector.ledger",
            "ALTER TABLE projector.orders ADD COLUMN mine text",
            "ALTER TABLE projector.orders DISABLE TRIGGER ALL",
            "CREATE INDEX ON projector.orders (status)",
            "CREATE TABLE projector.mine ()",
            "CREATE FUNCTION projector.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
            "CREATE TABLE read_model.mine ()",
            "CREATE SCHEMA mine",
            "UPDATE projector.schema_migrations SET version = '9999'",
            "DELETE FROM projector.read_models",
            "SELECT * FROM read_model.order_summary",
        )
    ),
    *(
        ("operator", statement)
        for statement in (
            "UPDATE projector.checkpoints SET next_offset = 0",
            "INSERT INTO projector.checkpoints (topic, partition, next_offset) VALUES ('t', 0, 0)",
            "DELETE FROM projector.checkpoints",
            "TRUNCATE projector.dead_letters",
            "DROP TABLE projector.dead_letters",
            "DELETE FROM projector.read_models",
        )
    ),
    *(
        ("api", statement)
        for statement in (
            "INSERT INTO read_model.order_summary (order_id) VALUES ('o-1')",
            "UPDATE read_model.fulfilment_queue SET total = 0",
            "DELETE FROM read_model.fulfilment_queue",
            "UPDATE projector.checkpoints SET next_offset = 0",
            "SELECT value FROM projector.dead_letters",
            "SELECT value FROM projector.parked_events",
            "SELECT data FROM projector.processed_events",
            "SELECT * FROM projector.orders",
            "SELECT * FROM projector.customer_summary",
            "CREATE TABLE read_model.mine ()",
        )
    ),
    *(
        ("rebuild", statement)
        for statement in (
            "DROP TABLE projector.orders",
            "INSERT INTO projector.read_models VALUES ('mine', 'x')",
            "CREATE TABLE projector.mine ()",
        )
    ),
    *(
        ("relay", f"SELECT * FROM {what}")
        for what in ("projector.checkpoints", "read_model.order_summary", "write_model.orders", "write_model.sagas")
    ),
    *(
        ("relay", statement)
        for statement in (
            "DELETE FROM write_model.outbox",
            "UPDATE write_model.outbox SET payload = '{}'",
            "DROP TABLE write_model.outbox_other",
            "SELECT commands FROM write_model.saga_steps",
        )
    ),
    *(
        ("shop", statement)
        for statement in (
            "DELETE FROM write_model.orders",
            "DELETE FROM write_model.outbox",
            "UPDATE write_model.outbox SET payload = '{}'",
            "DELETE FROM write_model.saga_steps",
            "SELECT write_model.outbox_drop_partitions(1)",
            "SELECT * FROM projector.orders",
            "SELECT * FROM read_model.order_summary",
        )
    ),
    *(("nobody", f"SELECT * FROM {what}") for what in ("projector.checkpoints", "read_model.order_summary")),
    ("migrator", "CREATE ROLE mine"),
    ("migrator", "SELECT pg_read_file('/etc/passwd')"),
    *(
        (login, statement)
        for login in ("worker", "operator", "api", "relay", "shop", "nobody")
        for statement in (
            "CREATE TEMPORARY TABLE mine ()",
            "CREATE TABLE public.mine ()",
            "SELECT pg_read_file('/etc/passwd')",
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "SET ROLE projector_owner",
        )
    ),
]
