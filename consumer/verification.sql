-- What a verification reads, all of it in one snapshot. {braces} are filled with quoted names.

-- name: patient
-- No time limit of a role or database may end a reader that is slow on purpose. Tables are read by key, range by range,
-- whatever the planner thinks of those that were never analysed.
SELECT set_config(s.name, u.setting, false)
FROM unnest($1::text[], $2::text[]) AS u (name, setting)
JOIN pg_settings AS s USING (name);

-- name: hold
-- What is read stays what it is until the end: a swap would show this snapshot empty tables, and has to wait.
LOCK TABLE {relations} IN ACCESS SHARE MODE;

-- name: pruned
-- Of how many orders, or of this one, the history was dropped.
SELECT count(*) FROM projector.pruned_orders WHERE $1::text IS NULL OR order_id = $1;

-- name: checkpoints
-- How far each partition is applied, of these topics and of others.
SELECT topic, partition, next_offset, topic = ANY($1::text[]) AS ours
FROM projector.checkpoints
ORDER BY topic, partition;

-- name: next_order
-- The order with which the next range of $2 orders begins. No row: what follows $1 is one range.
SELECT order_id
FROM projector.orders
WHERE order_id > $1
ORDER BY order_id
OFFSET $2
LIMIT 1;

-- name: sampled
-- The orders of a range that a sample takes, wherever the database has something of them. $4 of 2^32 is its share.
SELECT order_id
FROM (
    SELECT order_id FROM projector.ledger
    WHERE order_id >= $1 AND ($2::text IS NULL OR order_id < $2)
    UNION
    SELECT order_id FROM projector.orders
    WHERE order_id >= $1 AND ($2::text IS NULL OR order_id < $2)
    UNION
    SELECT order_id FROM projector.parked_events
    WHERE order_id >= $1 AND ($2::text IS NULL OR order_id < $2)
) AS o
WHERE ('x' || left(md5($3::text || order_id), 8))::bit(32)::bigint < $4;

-- name: orders
-- How orders stand. Version 0 and not erased: nothing has come of them yet.
SELECT o.order_id, o.version, o.erased, o.placed_at IS NOT NULL AS placed, coalesce(p.version, 0) AS pruned
FROM projector.orders AS o
LEFT JOIN projector.pruned_orders AS p USING (order_id)
WHERE o.order_id >= $1
  AND ($2::text IS NULL OR o.order_id < $2)
  AND ($3::text[] IS NULL OR o.order_id = ANY($3));

-- name: applied
-- Which events orders have, without their data.
SELECT l.order_id, l.version, s.source AS event_source, coalesce(l.plain_id, l.event_uuid::text) AS event_id
FROM projector.ledger AS l
LEFT JOIN projector.event_sources AS s USING (source_no)
WHERE l.order_id >= $1
  AND ($2::text IS NULL OR l.order_id < $2)
  AND ($3::text[] IS NULL OR l.order_id = ANY($3))
ORDER BY l.order_id, l.version;

-- name: journal
-- The events of a range of orders, whole.
SELECT l.order_id, l.version, s.source AS event_source, coalesce(l.plain_id, l.event_uuid::text) AS event_id,
       l.event_type, l.occurred_at, l.data::text AS data, l.schema_version
FROM projector.ledger AS l
LEFT JOIN projector.event_sources AS s USING (source_no)
WHERE l.order_id >= $1
  AND ($2::text IS NULL OR l.order_id < $2)
  AND ($3::text[] IS NULL OR l.order_id = ANY($3))
ORDER BY l.order_id, l.version;

-- name: parked
-- What waits for orders, in the order in which it came.
SELECT order_id, version, event_source, event_id, event_type, occurred_at,
       topic, partition, "offset", "timestamp", key, value, headers::text AS headers
FROM projector.parked_events
WHERE order_id >= $1
  AND ($2::text IS NULL OR order_id < $2)
  AND ($3::text[] IS NULL OR order_id = ANY($3))
ORDER BY order_id, version, arrival;

-- name: known_anywhere
-- The orders as whose events live knows these: applied, parked or in dead letters.
WITH u AS MATERIALIZED (
    SELECT u.event_uuid, s.source_no, s.source
    FROM unnest($1::uuid[], $2::text[]) AS u (event_uuid, source)
    JOIN projector.event_sources AS s USING (source)
)
SELECT u.event_uuid::text AS event_uuid, u.source, l.order_id
FROM u
JOIN projector.ledger AS l USING (event_uuid, source_no)
UNION ALL
SELECT u.event_uuid::text, u.source, p.order_id
FROM u
JOIN projector.parked_events AS p USING (event_uuid, source_no)
UNION ALL
SELECT u.event_uuid::text, u.source, d.order_id
FROM u
JOIN projector.dead_letters AS d USING (event_uuid, source_no)
WHERE d.resolution IS DISTINCT FROM 'retried';

-- name: letter_places
-- The partitions of whose records there are letters.
SELECT DISTINCT topic, partition FROM projector.dead_letters;

-- name: letters
-- The next letters of a partition's records, by offset.
SELECT id, reason, order_id, event_source, event_id, "offset", md5(coalesce(value, '\x')) AS digest,
       resolution IS DISTINCT FROM 'retried' AS known,
       attempts > 1 OR last_attempt_at IS NOT NULL OR resolution IS NOT DISTINCT FROM 'retried' AS again
FROM projector.dead_letters
WHERE topic = $1
  AND partition = $2
  AND ("offset", id) > ($3, $4)
ORDER BY "offset", id
LIMIT $5;

-- name: rows
-- What readers see of a range of orders.
SELECT *
FROM {relation}
WHERE order_id >= $1 COLLATE "C"
  AND ($2::text IS NULL OR order_id < $2 COLLATE "C")
  AND ($3::text[] IS NULL OR order_id = ANY($3));

-- name: all_rows
-- What readers see.
SELECT * FROM {relation};
