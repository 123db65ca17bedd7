-- The benchmark's SQL, by name.

-- name: create_database
-- A fresh database with the current schema and nothing in it.
CREATE DATABASE {name} TEMPLATE {template};

-- name: copy_database
-- Another, with all the rows of this one; its files are copied, which writes them once and not to the log too.
CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY;

-- name: drop_database
-- And away with it, whoever is connected.
DROP DATABASE IF EXISTS {name} WITH (FORCE);

-- name: settle
-- Start every measurement from the same state: nothing dirty, nothing owed to the log.
CHECKPOINT;

-- name: server_settings
-- What decides how safe and how fast the server is.
SELECT name, current_setting(name) AS value
FROM unnest($1::text[]) WITH ORDINALITY AS u (name, place)
ORDER BY place;

-- name: progress
-- Partitions taken, and records applied: their logs begin at 0.
SELECT count(*) AS partitions, coalesce(sum(next_offset), 0)::bigint AS applied
FROM projector.checkpoints
WHERE topic = $1;

-- name: digest
-- Every read model as readers see it, in one line each: two databases with the same lines hold the same rows.
SELECT 'order_summary' AS name, count(*) AS rows,
       coalesce(sum(hashtextextended((to_jsonb(m) - 'projected_at')::text, 0)::numeric), 0)::text AS digest
FROM read_model.order_summary AS m
UNION ALL
SELECT 'order_timeline', count(*), coalesce(sum(hashtextextended(to_jsonb(m)::text, 0)::numeric), 0)::text
FROM read_model.order_timeline AS m
UNION ALL
SELECT 'customer_summary', count(*), coalesce(sum(hashtextextended(to_jsonb(m)::text, 0)::numeric), 0)::text
FROM read_model.customer_summary AS m
UNION ALL
SELECT 'product_sales_daily', count(*), coalesce(sum(hashtextextended(to_jsonb(m)::text, 0)::numeric), 0)::text
FROM read_model.product_sales_daily AS m
UNION ALL
SELECT 'fulfilment_queue', count(*), coalesce(sum(hashtextextended(to_jsonb(m)::text, 0)::numeric), 0)::text
FROM read_model.fulfilment_queue AS m
UNION ALL
SELECT 'parked_events', count(*), '' FROM projector.parked_events
UNION ALL
SELECT 'dead_letters', count(*), '' FROM projector.dead_letters;

-- name: dump
-- A table's rows into a file on the server.
COPY {table} TO '{file}' (FORMAT binary);

-- name: load
-- And from it.
COPY {table} FROM '{file}' (FORMAT binary);

-- name: fold_work
-- How often each order was written: what batching saves.
SELECT coalesce(sum(revision), 0)::bigint AS order_writes FROM projector.orders;

-- name: visible
-- What a reader sees at one moment: every partition's checkpoint, and the versions of the probe orders.
SELECT ARRAY(SELECT next_offset FROM projector.checkpoints WHERE topic = $1 ORDER BY partition) AS offsets,
       ARRAY(
           SELECT coalesce(m.version, 0)
           FROM unnest($2::text[]) WITH ORDINALITY AS u (order_id, place)
           LEFT JOIN read_model.order_summary AS m USING (order_id)
           ORDER BY place
       ) AS versions;

-- name: naive_take
-- The textbook consumer's checkpoints.
INSERT INTO projector.checkpoints (topic, partition, next_offset)
SELECT $1, partition, 0 FROM generate_series(0, $2::integer - 1) AS partition;

-- name: naive_seen
-- One event into the ledger, unless it is there.
INSERT INTO projector.ledger
    (event_uuid, source_no, version, occurred_at, order_id, event_type, plain_id, data)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (event_uuid, source_no) DO NOTHING
RETURNING true;

-- name: naive_load
-- One order, locked.
SELECT order_id, revision, version, erased, status, customer_id, customer_name, customer_email, currency,
       lines::text AS lines, unit_count::text AS unit_count, trunc(total * 10000)::text AS total,
       trunc(paid * 10000)::text AS paid, trunc(refunded * 10000)::text AS refunded,
       shipping_address::text AS shipping_address, carrier, tracking_number, cancel_reason, placed_at,
       confirmed_at, paid_at, shipped_at, delivered_at, cancelled_at, last_event_id, last_event_at
FROM projector.orders
WHERE order_id = $1
FOR UPDATE;

-- name: naive_store
-- One order as it stands after the event.
INSERT INTO projector.orders (
    order_id, revision, version, erased, status, customer_id, customer_name, customer_email, currency,
    lines, unit_count, total, paid, refunded, shipping_address, carrier, tracking_number, cancel_reason,
    placed_at, confirmed_at, paid_at, shipped_at, delivered_at, cancelled_at, last_event_id, last_event_at
)
VALUES (
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
    $25, $26
)
ON CONFLICT (order_id) DO UPDATE SET
    revision = excluded.revision,
    version = excluded.version,
    status = excluded.status,
    lines = excluded.lines,
    unit_count = excluded.unit_count,
    total = excluded.total,
    paid = excluded.paid,
    refunded = excluded.refunded,
    shipping_address = excluded.shipping_address,
    carrier = excluded.carrier,
    tracking_number = excluded.tracking_number,
    cancel_reason = excluded.cancel_reason,
    customer_id = excluded.customer_id,
    customer_name = excluded.customer_name,
    customer_email = excluded.customer_email,
    currency = excluded.currency,
    placed_at = excluded.placed_at,
    confirmed_at = excluded.confirmed_at,
    paid_at = excluded.paid_at,
    shipped_at = excluded.shipped_at,
    delivered_at = excluded.delivered_at,
    cancelled_at = excluded.cancelled_at,
    last_event_id = excluded.last_event_id,
    last_event_at = excluded.last_event_at,
    projected_at = now();

-- name: naive_customer
-- One customer's sums.
INSERT INTO projector.customer_summary AS t
    (customer_id, currency, orders, open_orders, delivered_orders, cancelled_orders, revenue, shard)
VALUES ($1, $2, $3, $4, $5, $6, $7, 0)
ON CONFLICT (customer_id, currency, shard) DO UPDATE SET
    orders = t.orders + excluded.orders,
    open_orders = t.open_orders + excluded.open_orders,
    delivered_orders = t.delivered_orders + excluded.delivered_orders,
    cancelled_orders = t.cancelled_orders + excluded.cancelled_orders,
    revenue = t.revenue + excluded.revenue;

-- name: naive_sales
-- One product's sums on one day.
INSERT INTO projector.product_sales_daily AS t (sku, day, currency, orders, units, revenue, shard)
VALUES ($1, $2, $3, $4, $5, $6, 0)
ON CONFLICT (sku, day, currency, shard) DO UPDATE SET
    orders = t.orders + excluded.orders,
    units = t.units + excluded.units,
    revenue = t.revenue + excluded.revenue;

-- name: naive_queue
-- An order that is ready to be sent.
INSERT INTO projector.fulfilment_queue
    (order_id, customer_id, customer_name, unit_count, total, currency, ready_since)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (order_id) DO UPDATE SET
    customer_id = excluded.customer_id,
    customer_name = excluded.customer_name,
    unit_count = excluded.unit_count,
    total = excluded.total,
    currency = excluded.currency,
    ready_since = excluded.ready_since;

-- name: naive_unqueue
-- One that is not, any more.
DELETE FROM projector.fulfilment_queue WHERE order_id = $1;

-- name: naive_checkpoint
-- The partition's position, in the event's own transaction.
UPDATE projector.checkpoints
SET next_offset = $3, last_event_at = greatest(last_event_at, $4), updated_at = now()
WHERE topic = $1 AND partition = $2;

-- name: statements_start
-- Begin to count statements.
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;

-- name: statements_reset
-- Forget what was counted.
SELECT pg_stat_statements_reset();

-- name: statements_read
-- What each of this database's statements cost the server, the dearest first.
SELECT query, calls, rows, total_exec_time AS ms, wal_bytes::bigint AS wal_bytes,
       shared_blks_hit + shared_blks_read AS blocks, shared_blks_dirtied AS dirtied
FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY total_exec_time DESC;

-- name: backend
-- Which process serves this connection.
SELECT pg_backend_pid();

-- name: sizes
-- What each table and index takes on disk.
SELECT c.relname AS name, pg_relation_size(c.oid) AS bytes
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'projector' AND c.relkind IN ('r', 'i') AND pg_relation_size(c.oid) > 100000
ORDER BY 2 DESC;

-- name: hot_updates
-- How many updates found room on their page and left the indexes alone.
SELECT relname AS name, n_tup_ins AS inserted, n_tup_upd AS updated, n_tup_hot_upd AS hot
FROM pg_stat_user_tables WHERE schemaname = 'projector' AND n_tup_ins > 0 ORDER BY 1;

-- name: ledger_empty
-- A ledger with nothing in it.
TRUNCATE projector.ledger;

-- name: ledger_bare
-- Rows are added faster without the key's index.
ALTER TABLE projector.ledger DROP CONSTRAINT IF EXISTS ledger_pkey;

-- name: ledger_no_versions
-- And without the other one.
ALTER TABLE projector.ledger DROP CONSTRAINT IF EXISTS ledger_order_version_key;

-- name: ledger_fill
-- Rows from number $1 to $2, as they would have come: five to an order, a second apart, the last just before $6.
INSERT INTO projector.ledger (event_uuid, source_no, version, occurred_at, order_id, event_type, data)
SELECT CASE WHEN $4 THEN uuidv7($6 - now() + make_interval(secs => i - $2 - 10)) ELSE gen_random_uuid() END,
       $3, i % 5 + 1, $6::timestamptz - make_interval(secs => $2 - i), 'o-' || (i / 5), 'order.placed', $5::text::jsonb
FROM generate_series($1::bigint, $2::bigint) AS i;

-- name: ledger_work_memory
-- For the indexes.
SET maintenance_work_mem = '1GB';

-- name: ledger_key
-- As the migration has it.
ALTER TABLE projector.ledger ADD CONSTRAINT ledger_pkey PRIMARY KEY (event_uuid, source_no);

-- name: ledger_versions
-- As the migration has it.
ALTER TABLE projector.ledger ADD CONSTRAINT ledger_order_version_key UNIQUE (order_id, version);

-- name: ledger_vacuum
-- Hint bits, statistics.
VACUUM (ANALYZE) projector.ledger;

-- name: ledger_rows
-- How many there are.
SELECT count(*) FROM projector.ledger;

-- name: ledger_unnamed
-- Readers' views join the name of an event's source: without it they show what came since.
DELETE FROM projector.event_sources WHERE source = $1;

-- name: ledger_key_size
-- Bytes of the key's index.
SELECT pg_relation_size('projector.ledger_pkey');

-- name: log_place
-- How far the write-ahead log is.
SELECT pg_current_wal_lsn()::text;

-- name: log_since
-- Bytes that it has grown by.
SELECT pg_current_wal_lsn() - $1::text::pg_lsn;

-- name: shown_version
-- At which version readers see an order.
SELECT version FROM read_model.order_summary WHERE order_id = $1;

-- name: not_shown
-- How many orders readers see otherwise than their commands left them.
SELECT count(*)
FROM write_model.orders AS w
LEFT JOIN read_model.order_summary AS r USING (order_id)
WHERE (w.version, w.status, w.total, w.paid, w.refunded)
    IS DISTINCT FROM (r.version, r.status, r.total, r.paid, r.refunded);
