-- The consumer's SQL, by name. Each block's first comment says what it is for. Arrays are one element per row,
-- jsonb and numeric travel as text, which the server casts: cheaper than encoding them in Python. The statements that
-- every event goes through take their texts packed (runtime.packing): $1 and $2 are the separator and the mark for null.

-- name: sources_number
-- The numbers of event sources, new ones included.
WITH wanted AS (SELECT DISTINCT source FROM unnest($1::text[]) AS source),
added AS (
    INSERT INTO projector.event_sources (source)
    SELECT source FROM wanted ORDER BY source
    ON CONFLICT (source) DO NOTHING
    RETURNING source, source_no
)
SELECT source, source_no FROM added
UNION ALL
SELECT s.source, s.source_no FROM projector.event_sources AS s JOIN wanted USING (source);

-- name: orders_read
-- The state of orders as it stands. Whoever writes them compares the revision.
SELECT order_id, revision, version, erased, status, customer_id, customer_name, customer_email, currency,
       lines::text AS lines, unit_count::text AS unit_count, trunc(total * 10000)::text AS total,
       trunc(paid * 10000)::text AS paid, trunc(refunded * 10000)::text AS refunded,
       shipping_address::text AS shipping_address, carrier, tracking_number, cancel_reason, placed_at,
       confirmed_at, paid_at, shipped_at, delivered_at, cancelled_at, last_event_id, last_event_at
FROM projector.orders
WHERE order_id = ANY($1::text[]);

-- name: batch_look
-- What a batch asks first, in one round trip: its orders' state as it stands and, beside each, whether one of its
-- identities may be parked or in dead letters and whether anything waits for one of these orders. One row at least.
WITH u AS MATERIALIZED (
    SELECT *
    FROM unnest((string_to_array($3, $1, $2))[2:]::uuid[], (string_to_array($4, $1, $2))[2:]::integer[])
        AS u (event_uuid, source_no)
)
SELECT f.pending, f.waiting,
       o.order_id, revision, version, erased, status, customer_id, customer_name, customer_email, currency,
       lines::text AS lines, unit_count::text AS unit_count, trunc(total * 10000)::text AS total,
       trunc(paid * 10000)::text AS paid, trunc(refunded * 10000)::text AS refunded,
       shipping_address::text AS shipping_address, carrier, tracking_number, cancel_reason, placed_at,
       confirmed_at, paid_at, shipped_at, delivered_at, cancelled_at, last_event_id, last_event_at
FROM (
    SELECT EXISTS (SELECT FROM u JOIN projector.parked_events AS p USING (event_uuid, source_no))
           OR EXISTS (SELECT FROM u JOIN projector.dead_letters AS d USING (event_uuid, source_no)) AS pending,
           EXISTS (
               SELECT FROM projector.parked_events AS p WHERE p.order_id = ANY((string_to_array($5, $1, $2))[2:])
           ) AS waiting
) AS f
LEFT JOIN projector.orders AS o ON o.order_id = ANY((string_to_array($5, $1, $2))[2:]);

-- name: orders_hold
-- Lock orders in key order, after a lost race, so that the second try can't lose again. One that doesn't exist yet
-- gets a stub, which is locked as well. One that does is locked and not written (WHERE false).
INSERT INTO projector.orders AS o (order_id, revision, version, lines, unit_count, total, paid, refunded)
SELECT order_id, 0, 0, '[]', 0, 0, 0, 0 FROM unnest($1::text[]) AS order_id
ORDER BY order_id COLLATE "C"
ON CONFLICT (order_id) DO UPDATE SET revision = o.revision WHERE false;

-- name: orders_write
-- Write orders, each only if nobody wrote it since it was read: a row that isn't counted lost the race.
INSERT INTO projector.orders AS o (
    order_id, revision, version, erased, status, customer_id, customer_name, customer_email, currency,
    lines, unit_count, total, paid, refunded, shipping_address, carrier, tracking_number, cancel_reason,
    placed_at, confirmed_at, paid_at, shipped_at, delivered_at, cancelled_at, last_event_id, last_event_at
)
SELECT order_id, revision, version, erased, status, customer_id, customer_name, customer_email, currency,
       lines::jsonb, unit_count::numeric, total::numeric, paid::numeric, refunded::numeric,
       shipping_address::jsonb, carrier, tracking_number, cancel_reason,
       placed_at, confirmed_at, paid_at, shipped_at, delivered_at, cancelled_at, last_event_id, last_event_at
FROM unnest(
    (string_to_array($3, $1, $2))[2:],
    (string_to_array($4, $1, $2))[2:],
    (string_to_array($5, $1, $2))[2:],
    (string_to_array($6, $1, $2))[2:],
    (string_to_array($7, $1, $2))[2:],
    (string_to_array($8, $1, $2))[2:],
    (string_to_array($9, $1, $2))[2:],
    (string_to_array($10, $1, $2))[2:],
    (string_to_array($11, $1, $2))[2:],
    (string_to_array($12, $1, $2))[2:],
    (string_to_array($13, $1, $2))[2:],
    (string_to_array($14, $1, $2))[2:],
    (string_to_array($15, $1, $2))[2:],
    (string_to_array($16, $1, $2))[2:],
    (string_to_array($17, $1, $2))[2:],
    (string_to_array($18, $1, $2))[2:],
    (string_to_array($19, $1, $2))[2:]::bigint[],
    (string_to_array($20, $1, $2))[2:]::bigint[],
    (string_to_array($21, $1, $2))[2:]::boolean[],
    (string_to_array($22, $1, $2))[2:]::timestamptz[],
    (string_to_array($23, $1, $2))[2:]::timestamptz[],
    (string_to_array($24, $1, $2))[2:]::timestamptz[],
    (string_to_array($25, $1, $2))[2:]::timestamptz[],
    (string_to_array($26, $1, $2))[2:]::timestamptz[],
    (string_to_array($27, $1, $2))[2:]::timestamptz[],
    (string_to_array($28, $1, $2))[2:]::timestamptz[]
) AS u (
    order_id, status, customer_id, customer_name, customer_email, currency, lines, unit_count, total,
    paid, refunded, shipping_address, carrier, tracking_number, cancel_reason, last_event_id,
    revision, version, erased, placed_at, confirmed_at, paid_at, shipped_at, delivered_at, cancelled_at, last_event_at
)
ORDER BY order_id COLLATE "C"
ON CONFLICT (order_id) DO UPDATE SET
    revision = excluded.revision,
    version = excluded.version,
    erased = excluded.erased,
    status = excluded.status,
    customer_id = excluded.customer_id,
    customer_name = excluded.customer_name,
    customer_email = excluded.customer_email,
    currency = excluded.currency,
    lines = excluded.lines,
    unit_count = excluded.unit_count,
    total = excluded.total,
    paid = excluded.paid,
    refunded = excluded.refunded,
    shipping_address = excluded.shipping_address,
    carrier = excluded.carrier,
    tracking_number = excluded.tracking_number,
    cancel_reason = excluded.cancel_reason,
    placed_at = excluded.placed_at,
    confirmed_at = excluded.confirmed_at,
    paid_at = excluded.paid_at,
    shipped_at = excluded.shipped_at,
    delivered_at = excluded.delivered_at,
    cancelled_at = excluded.cancelled_at,
    last_event_id = excluded.last_event_id,
    last_event_at = excluded.last_event_at,
    projected_at = now()
WHERE o.revision = excluded.revision - 1;

-- name: orders_placed
-- The ids of all orders that are placed, for a read model that is new in this database.
SELECT order_id FROM projector.orders WHERE placed_at IS NOT NULL;

-- name: orders_stay
-- Wait until no swap is under way, and keep the next one waiting. Before anything is read, or two would wait for each
-- other.
LOCK TABLE projector.orders IN ROW EXCLUSIVE MODE;

-- name: rebuild_lock
-- One rebuild at a time in a database.
SELECT pg_try_advisory_lock($1);

-- name: rebuild_unlock
-- The next one may.
SELECT pg_advisory_unlock($1);

-- name: orders_any
-- Is there any order?
SELECT EXISTS (SELECT FROM projector.orders);

-- name: orders_still
-- Keep writers out while a new read model is filled.
LOCK TABLE projector.orders IN SHARE ROW EXCLUSIVE MODE;

-- name: ledger_known
-- Which of these identities were applied?
SELECT l.event_uuid::text AS event_uuid, l.source_no
FROM unnest((string_to_array($3, $1, $2))[2:]::uuid[], (string_to_array($4, $1, $2))[2:]::integer[])
    AS u (event_uuid, source_no)
JOIN projector.ledger AS l USING (event_uuid, source_no);

-- name: ledger_append
-- Enter events as applied. Without ON CONFLICT, which looks into both indexes before it writes and costs a quarter more:
-- that one is in already is rare, and then the whole batch is done again.
INSERT INTO projector.ledger
    (event_uuid, source_no, version, occurred_at, order_id, event_type, plain_id, data, schema_version)
SELECT event_uuid, source_no, version, occurred_at, order_id, event_type, plain_id, data::jsonb, schema_version
FROM unnest(
    (string_to_array($3, $1, $2))[2:]::uuid[],
    (string_to_array($4, $1, $2))[2:]::integer[],
    (string_to_array($5, $1, $2))[2:]::bigint[],
    (string_to_array($6, $1, $2))[2:]::timestamptz[],
    (string_to_array($7, $1, $2))[2:],
    (string_to_array($8, $1, $2))[2:],
    (string_to_array($9, $1, $2))[2:],
    (string_to_array($10, $1, $2))[2:],
    (string_to_array($11, $1, $2))[2:]::integer[]
) AS u (event_uuid, source_no, version, occurred_at, order_id, event_type, plain_id, data, schema_version);

-- name: ledger_erase
-- An erased order's history.
DELETE FROM projector.ledger WHERE order_id = ANY($1::text[]);

-- name: pruned_among
-- Up to which versions the history of these orders was dropped.
SELECT order_id, version FROM projector.pruned_orders WHERE order_id = ANY($1::text[]);

-- name: pruned_any
-- How many orders' histories were dropped.
SELECT count(*) FROM projector.pruned_orders;

-- name: pruned_erase
-- An erased order leaves no such note.
DELETE FROM projector.pruned_orders WHERE order_id = ANY($1::text[]);

-- name: pending_known
-- Which of these identities are parked or in dead letters? A letter that was retried says nothing any more: where its
-- event is now says it.
WITH u AS MATERIALIZED (
    SELECT *
    FROM unnest((string_to_array($3, $1, $2))[2:]::uuid[], (string_to_array($4, $1, $2))[2:]::integer[])
        AS u (event_uuid, source_no)
)
SELECT p.event_uuid::text AS event_uuid, p.source_no
FROM u
JOIN projector.parked_events AS p USING (event_uuid, source_no)
UNION ALL
SELECT d.event_uuid::text, d.source_no
FROM u
JOIN projector.dead_letters AS d USING (event_uuid, source_no)
WHERE d.resolution IS DISTINCT FROM 'retried';

-- name: parked_waiting
-- What waits for these orders, the first that came first.
SELECT order_id, event_id, event_uuid::text AS event_uuid, source_no,
       topic, partition, "offset", "timestamp", key, value, headers::text AS headers
FROM projector.parked_events
WHERE order_id = ANY($1::text[])
ORDER BY order_id, version, arrival;

-- name: parked_add
-- Park events ahead of their turn.
INSERT INTO projector.parked_events (
    event_uuid, source_no, order_id, version, event_id, event_source, event_type, occurred_at,
    topic, partition, "offset", "timestamp", key, value, headers
)
SELECT event_uuid, source_no, order_id, version, event_id, event_source, event_type, occurred_at,
       topic, partition, "offset", "timestamp", key, value, headers::jsonb
FROM unnest(
    $1::uuid[], $2::integer[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::timestamptz[],
    $9::text[], $10::integer[], $11::bigint[], $12::bigint[], $13::bytea[], $14::bytea[], $15::text[]
) WITH ORDINALITY AS u (
    event_uuid, source_no, order_id, version, event_id, event_source, event_type, occurred_at,
    topic, partition, "offset", "timestamp", key, value, headers, place
)
ORDER BY place
ON CONFLICT (event_uuid, source_no) DO NOTHING;

-- name: parked_remove
-- Their turn has come, or somebody took their version.
DELETE FROM projector.parked_events AS p
USING unnest($1::uuid[], $2::integer[]) AS u (event_uuid, source_no)
WHERE p.event_uuid = u.event_uuid AND p.source_no = u.source_no;

-- name: parked_erase
-- What waits for erased orders.
DELETE FROM projector.parked_events WHERE order_id = ANY($1::text[]);

-- name: letters_add
-- Record what can't be applied, each record once. A record whose letter was retried, and which is refused now or when
-- its turn has come, has that letter open again.
WITH u AS MATERIALIZED (
    SELECT *
    FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::uuid[], $8::integer[],
        $9::text[], $10::integer[], $11::bigint[], $12::bigint[], $13::text[], $14::bytea[], $15::bytea[], $16::text[]
    ) WITH ORDINALITY AS u (
        reason, order_id, event_id, event_source, event_type, version, event_uuid, source_no,
        topic, partition, "offset", "timestamp", error, key, value, headers, place
    )
),
open_again AS (
    UPDATE projector.dead_letters AS d
    SET reason = u.reason,
        order_id = coalesce(u.order_id, d.order_id),
        event_id = coalesce(u.event_id, d.event_id),
        event_source = coalesce(u.event_source, d.event_source),
        event_type = coalesce(u.event_type, d.event_type),
        version = coalesce(u.version, d.version),
        event_uuid = coalesce(u.event_uuid, d.event_uuid),
        source_no = coalesce(u.source_no, d.source_no),
        attempts = d.attempts + 1,
        last_error = u.error,
        last_attempt_at = now(),
        resolved_at = NULL,
        resolution = NULL,
        resolved_by = NULL,
        resolution_note = NULL
    FROM u
    WHERE d.topic = u.topic
      AND d.partition = u.partition
      AND d."offset" = u."offset"
      AND md5(coalesce(d.value, '\x')) = md5(coalesce(u.value, '\x'))
      AND d.resolution = 'retried'
)
INSERT INTO projector.dead_letters (
    reason, order_id, event_id, event_source, event_type, version, event_uuid, source_no,
    topic, partition, "offset", "timestamp", error, key, value, headers
)
SELECT reason, order_id, event_id, event_source, event_type, version, event_uuid, source_no,
       topic, partition, "offset", "timestamp", error, key, value, headers::jsonb
FROM u
ORDER BY place
ON CONFLICT DO NOTHING;

-- name: letters_erase
-- The letters of erased orders.
DELETE FROM projector.dead_letters WHERE order_id = ANY($1::text[]);

-- name: orders_shown
-- Orders as readers see them, as JSON (money as decimal text, times in UTC), with the moment, all from one snapshot.
SELECT s.order_id, s.version, g.generation, statement_timestamp() AS as_of, pg_is_in_recovery() AS replica,
       (to_jsonb(s) || jsonb_build_object(
            'total', s.total::text, 'paid', s.paid::text, 'refunded', s.refunded::text
       ))::text AS body
FROM read_model.order_summary AS s
CROSS JOIN (SELECT m.generation FROM projector.read_models AS m WHERE m.name = 'orders') AS g
WHERE s.order_id = ANY($1::text[]);

-- name: generation
-- How often the read models' rows were swapped for others.
SELECT generation FROM projector.read_models WHERE name = 'orders';

-- name: orders_told
-- Tell readers who wait that something was applied.
SELECT pg_notify('read_model.orders', '');

-- name: checkpoints_take
-- Become the owner of partitions: whoever owned them before can commit no more. New ones start where told.
INSERT INTO projector.checkpoints AS c (topic, partition, next_offset, epoch, owner)
SELECT topic, partition, start, 1, $4
FROM unnest($1::text[], $2::integer[], $3::bigint[]) AS u (topic, partition, start)
ORDER BY topic COLLATE "C", partition
ON CONFLICT (topic, partition) DO UPDATE SET epoch = c.epoch + 1, owner = excluded.owner
RETURNING topic, partition, next_offset, epoch, shard;

-- name: checkpoints_advance
-- Move checkpoints on, each only from where its owner believes it stands, in its owner's epoch.
WITH moves AS (
    SELECT *
    FROM unnest(
        (string_to_array($3, $1, $2))[2:],
        (string_to_array($4, $1, $2))[2:]::integer[],
        (string_to_array($5, $1, $2))[2:]::bigint[],
        (string_to_array($6, $1, $2))[2:]::bigint[],
        (string_to_array($7, $1, $2))[2:]::bigint[],
        (string_to_array($8, $1, $2))[2:]::timestamptz[]
    ) AS u (topic, partition, epoch, expected, next_offset, last_event_at)
),
held AS MATERIALIZED (
    SELECT c.topic, c.partition
    FROM projector.checkpoints AS c
    JOIN moves AS m USING (topic, partition)
    ORDER BY c.topic, c.partition
    FOR UPDATE OF c
)
UPDATE projector.checkpoints AS c
SET next_offset = m.next_offset,
    last_event_at = greatest(c.last_event_at, m.last_event_at),
    updated_at = now()
FROM moves AS m
JOIN held USING (topic, partition)
WHERE c.topic = m.topic
  AND c.partition = m.partition
  AND c.epoch = m.epoch
  AND c.next_offset = m.expected;

-- name: checkpoints_reached
-- How many of these checkpoints stand where a move was to take them, in its owner's epoch.
SELECT count(*)
FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[]) AS u (topic, partition, epoch, next_offset)
JOIN projector.checkpoints AS c USING (topic, partition, epoch, next_offset);

-- name: checkpoints_read
-- Every checkpoint of these topics.
SELECT topic, partition, next_offset, epoch, owner, last_event_at, updated_at
FROM projector.checkpoints
WHERE topic = ANY($1::text[])
ORDER BY topic, partition;

-- name: status_pending
-- How much waits, since when, and how much of it for longer than this many seconds: for a person who asks once.
SELECT count(*) AS events,
       count(DISTINCT order_id) AS orders,
       count(*) FILTER (WHERE parked_at < now() - make_interval(secs => $1)) AS older,
       min(parked_at) AS oldest_at
FROM projector.parked_events;

-- name: parked_age
-- The same for whoever asks every few seconds: nothing is counted further than $2. From there on the events are the
-- server's own estimate, the orders and the older ones "at least".
SELECT CASE WHEN first.events < $2 THEN first.events
            ELSE greatest(first.events, pg_stat_get_live_tuples('projector.parked_events'::regclass)) END AS events,
       theirs.orders,
       late.older,
       (SELECT min(parked_at) FROM projector.parked_events) AS oldest_at
FROM (
    SELECT count(*) AS events
    FROM (SELECT 1 FROM projector.parked_events ORDER BY parked_at LIMIT $2) AS p
) AS first
CROSS JOIN (
    SELECT count(DISTINCT order_id) AS orders
    FROM (SELECT order_id FROM projector.parked_events ORDER BY order_id LIMIT $2) AS p
) AS theirs
CROSS JOIN (
    SELECT count(*) AS older
    FROM (
        SELECT 1
        FROM projector.parked_events
        WHERE parked_at < now() - make_interval(secs => $1)
        ORDER BY parked_at
        LIMIT $2
    ) AS p
) AS late;

-- name: status_letters
-- Open letters by reason.
SELECT reason, count(*) AS letters, max(created_at) AS newest
FROM projector.dead_letters
WHERE resolved_at IS NULL
GROUP BY reason
ORDER BY reason;

-- name: installed_read
-- The read models that stand in this database.
SELECT name, fingerprint FROM projector.read_models;

-- name: installed_add
-- Remember a read model's make.
INSERT INTO projector.read_models (name, fingerprint) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET fingerprint = excluded.fingerprint, installed_at = now();
