-- The write side's SQL, by name. Arrays are one element per row; jsonb travels as text.

-- name: key_look
-- What was answered under an idempotency key. `free` is false while another command with this key is under way. It is
-- held until this transaction ends.
SELECT l.free, k.fingerprint, k.answer::text AS answer
FROM (SELECT pg_try_advisory_xact_lock(hashtextextended($1 || chr(31) || $2, 0)) AS free) AS l
LEFT JOIN write_model.idempotency_keys AS k ON k.scope = $1 AND k.key = $2;

-- name: key_keep
-- Remember an answer.
INSERT INTO write_model.idempotency_keys (scope, key, fingerprint, answer)
VALUES ($1, $2, $3, $4::text::jsonb);

-- name: keys_drop
-- Forget answers that are older than this many seconds, some at a time.
DELETE FROM write_model.idempotency_keys
WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM write_model.idempotency_keys
    WHERE created_at < now() - make_interval(secs => $1)
    ORDER BY created_at
    LIMIT $2
));

-- name: order_lock
-- An order as its commands left it, and nobody else's until this transaction ends.
SELECT state::text AS state FROM write_model.orders WHERE order_id = $1 FOR UPDATE;

-- name: order_write
-- Write an order, if it still has the version that was read.
INSERT INTO write_model.orders AS o (order_id, version, state, xid)
VALUES ($1, $2, $3::text::jsonb, pg_current_xact_id())
ON CONFLICT (order_id) DO UPDATE SET
    version = excluded.version, state = excluded.state, xid = greatest(o.xid, excluded.xid), updated_at = now()
WHERE o.version = $4;

-- name: outbox_add
-- Events to be published, of orders that are written already. Positions are drawn in the order of versions.
INSERT INTO write_model.outbox (xid, id, aggregateid, type, sequence, source, "time", traceparent, payload, occurred_at)
SELECT o.xid, id, aggregateid, type, sequence, source, "time", traceparent, payload::jsonb, occurred_at
FROM unnest(
    $1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::timestamptz[]
) WITH ORDINALITY AS u (id, aggregateid, type, sequence, source, "time", traceparent, payload, occurred_at, place)
JOIN write_model.orders AS o ON o.order_id = u.aggregateid
ORDER BY place;

-- name: outbox_has
-- The version that this event made of its order: whether a COMMIT that nobody answered has happened.
SELECT sequence FROM write_model.outbox WHERE aggregateid = $1 AND id = $2::text::uuid;

-- name: outbox_of_order
-- An order's events above a version.
SELECT position, id::text AS id, aggregateid, type, sequence, source, specversion, "time", traceparent,
       payload::text AS payload
FROM write_model.outbox
WHERE aggregateid = $1 AND sequence > $2 AND sequence < $3
ORDER BY sequence;

-- name: outbox_told
-- Wake whoever reads the outbox.
SELECT pg_notify('write_model.outbox', '');

-- name: reader_take
-- Become the leader of a reader: whoever led it before can mark no more.
INSERT INTO write_model.outbox_readers AS r (name, epoch, leader)
VALUES ($1, 1, $2)
ON CONFLICT (name) DO UPDATE SET epoch = r.epoch + 1, leader = excluded.leader, updated_at = now()
RETURNING epoch, done_below::text AS done_below, window_end::text AS window_end, position;

-- name: reader_lock
-- One leader at a time: the session holds it.
SELECT pg_try_advisory_lock(hashtextextended('write_model.outbox:' || $1, 0));

-- name: reader_mark
-- Move on, only as the leader that read from here.
UPDATE write_model.outbox_readers
SET done_below = $5::text::xid8, window_end = $6::text::xid8, position = $7, updated_at = now()
WHERE name = $1 AND epoch = $2 AND done_below = $3::text::xid8 AND position = $4;

-- name: window_open
-- A new window, everything of transactions from `done_below` on that can't come into being any more, and before whose
-- first row it begins. `ahead`: somebody has written beyond it, and isn't seen yet or not done.
WITH s AS (SELECT pg_current_snapshot() AS snapshot)
SELECT pg_snapshot_xmin(s.snapshot)::text AS window_end,
       pg_snapshot_xmax(s.snapshot)::text AS newest,
       (SELECT min(position) FROM write_model.outbox
        WHERE xid >= $1::text::xid8 AND xid < pg_snapshot_xmin(s.snapshot)) AS first,
       EXISTS (SELECT FROM write_model.outbox WHERE xid >= pg_snapshot_xmin(s.snapshot)) AS ahead
FROM s;

-- name: window_page
-- The next rows of a window, in the order of their positions.
SELECT position, id::text AS id, aggregateid, type, sequence, source, specversion, "time", traceparent,
       payload::text AS payload
FROM write_model.outbox
WHERE position > $3 AND xid >= $1::text::xid8 AND xid < $2::text::xid8
ORDER BY position
LIMIT $4;

-- name: outbox_lag
-- How much a reader has not read, counted up to a bound, and how old the first of it is.
SELECT (SELECT count(*) FROM (
            SELECT 1 FROM write_model.outbox AS o
            WHERE o.xid >= r.done_below AND (o.xid >= r.window_end OR o.position > r.position)
            LIMIT $2
        ) AS waiting) AS pending,
       coalesce(extract(epoch FROM clock_timestamp() - (
            SELECT o.created_at FROM write_model.outbox AS o
            WHERE o.xid >= r.done_below AND (o.xid >= r.window_end OR o.position > r.position)
            ORDER BY o.xid, o.position
            LIMIT 1
       )), 0)::float8 AS oldest_seconds
FROM write_model.outbox_readers AS r
WHERE r.name = $1;

-- name: partitions_make
-- Partitions of the outbox for today and the days to come.
SELECT write_model.outbox_make_partitions($1);

-- name: partitions_drop
-- Let go of days that are read and older than this many.
SELECT dropped FROM write_model.outbox_drop_partitions($1) AS dropped;

-- name: sagas_read
-- The sagas of these orders.
SELECT order_id, version, state::text AS state, timer, due_at
FROM write_model.sagas
WHERE name = $1 AND order_id = ANY($2::text[]);

-- name: sagas_due
-- Sagas whose timers have fallen due, the longest first.
SELECT order_id, version, state::text AS state, timer, due_at
FROM write_model.sagas
WHERE name = $1 AND due_at <= now()
ORDER BY due_at
LIMIT $2;

-- name: sagas_next_due
-- Seconds until the next timer falls due.
SELECT extract(epoch FROM min(due_at) - now())::float8 FROM write_model.sagas WHERE name = $1 AND due_at IS NOT NULL;

-- name: sagas_write
-- Where the sagas stand now, each only forward.
INSERT INTO write_model.sagas AS s (name, order_id, version, state, timer, due_at)
SELECT $1::text, order_id, version, state::jsonb, timer, due_at
FROM unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[])
    AS u (order_id, version, state, timer, due_at)
ORDER BY order_id COLLATE "C"
ON CONFLICT (name, order_id) DO UPDATE SET
    version = excluded.version, state = excluded.state, timer = excluded.timer, due_at = excluded.due_at,
    updated_at = now()
WHERE s.version <= excluded.version;

-- name: saga_steps_add
-- What the sagas did, and for what: never twice for one cause.
INSERT INTO write_model.saga_steps (name, order_id, cause, caused_by, before, after, commands)
SELECT $1::text, order_id, cause, caused_by, before, after, commands::jsonb
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[]) WITH ORDINALITY
    AS u (order_id, cause, caused_by, before, after, commands, place)
ORDER BY place;

-- name: saga_history
-- What the sagas did for an order, in order.
SELECT name, cause, caused_by, before, after, commands::text AS commands, taken_at
FROM write_model.saga_steps
WHERE order_id = $1
ORDER BY step;

-- name: saga_state
-- Where an order's saga stands.
SELECT version, state ->> 'stage' AS stage, timer, due_at FROM write_model.sagas WHERE name = $1 AND order_id = $2;

-- name: reader_hold
-- Be the leader until this transaction ends: whoever takes over waits for it.
SELECT epoch FROM write_model.outbox_readers WHERE name = $1 AND epoch = $2 FOR NO KEY UPDATE;

-- name: held_read
-- The orders that are held.
SELECT aggregateid FROM write_model.outbox_held WHERE reader = $1;

-- name: held_add
-- From this event on an order is held.
INSERT INTO write_model.outbox_held (reader, aggregateid, position, error) VALUES ($1, $2, $3, $4)
ON CONFLICT (reader, aggregateid) DO NOTHING;

-- name: held_rows
-- What is held of an order, as far as the reader has come.
SELECT o.position, o.id::text AS id, o.aggregateid, o.type, o.sequence, o.source, o.specversion, o."time", o.traceparent,
       o.payload::text AS payload
FROM write_model.outbox_held AS h
JOIN write_model.outbox AS o ON o.aggregateid = h.aggregateid AND o.position >= h.position
WHERE h.reader = $1
  AND h.aggregateid = $2
  AND (o.xid < $3::text::xid8 OR (o.xid < $4::text::xid8 AND o.position <= $5))
ORDER BY o.position;

-- name: held_remove
-- An order is held no more.
DELETE FROM write_model.outbox_held WHERE reader = $1 AND aggregateid = $2;
