-- Dead letters as people handle them: looked at, retried, discarded. Writing and erasing them is part of every batch
-- (queries.sql).

-- name: letters_list
-- Letters, the newest first: by reason, order and type if named, the open ones unless all are asked for.
SELECT id, coalesce(resolution, CASE WHEN resolved_at IS NULL THEN 'open' ELSE 'resolved' END) AS state,
       reason, order_id, event_id, event_type, version, topic, partition, "offset", error, attempts, last_error,
       last_attempt_at, created_at, resolved_at, resolution, resolved_by, resolution_note,
       octet_length(value) AS bytes
FROM projector.dead_letters
WHERE ($1::text IS NULL OR reason = $1)
  AND ($2::text IS NULL OR order_id = $2)
  AND ($3::text IS NULL OR event_type = $3)
  AND ($4::boolean OR resolved_at IS NULL)
ORDER BY id DESC
LIMIT $5;

-- name: letters_show
-- One letter, whole.
SELECT id, coalesce(resolution, CASE WHEN resolved_at IS NULL THEN 'open' ELSE 'resolved' END) AS state,
       reason, order_id, event_id, event_source, event_type, version, topic, partition, "offset",
       "timestamp", error, attempts, last_error, last_attempt_at, created_at, resolved_at, resolution, resolved_by,
       resolution_note, key, value, headers::text AS headers
FROM projector.dead_letters
WHERE id = $1;

-- name: letters_states
-- How letters stand, whatever became of them.
SELECT id, resolved_at, resolution, resolved_by, resolution_note
FROM projector.dead_letters
WHERE id = ANY($1::bigint[]);

-- name: letters_open
-- Those among these letters that are open, with their records.
SELECT id, reason, order_id, event_type, topic, partition, "offset", "timestamp", key, value, headers::text AS headers
FROM projector.dead_letters
WHERE id = ANY($1::bigint[]) AND resolved_at IS NULL
ORDER BY id;

-- name: letters_page
-- The next open letters after an id, with their records: of a reason, and those that may be of an order and a type.
-- Of which order and type an unreadable one is, only reading it again tells.
SELECT id, reason, order_id, event_type, topic, partition, "offset", "timestamp", key, value, headers::text AS headers
FROM projector.dead_letters
WHERE resolved_at IS NULL
  AND id > $1
  AND ($2::text IS NULL OR reason = $2)
  AND ($3::text IS NULL OR order_id = $3 OR reason = 'unreadable')
  AND ($4::text IS NULL OR event_type = $4 OR reason = 'unreadable')
ORDER BY id
LIMIT $5;

-- name: letters_take
-- Letters that are tried again: retried, unless what follows in this transaction opens them again (letters_add).
-- Their order is what the record says now, so that erasure finds them. One that isn't counted is open no more.
UPDATE projector.dead_letters AS d
SET resolved_at = now(),
    resolution = 'retried',
    resolved_by = $7,
    order_id = coalesce(u.order_id, d.order_id),
    event_id = coalesce(u.event_id, d.event_id),
    event_source = coalesce(u.event_source, d.event_source),
    event_type = coalesce(u.event_type, d.event_type),
    version = coalesce(u.version, d.version)
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[])
    AS u (id, order_id, event_id, event_source, event_type, version)
WHERE d.id = u.id AND d.resolved_at IS NULL;

-- name: letters_failed
-- One more attempt in vain.
UPDATE projector.dead_letters
SET attempts = attempts + 1, last_error = $2, last_attempt_at = now()
WHERE id = ANY($1::bigint[]) AND resolved_at IS NULL;

-- name: letters_note
-- What became of letters that were retried.
UPDATE projector.dead_letters AS d
SET resolution_note = u.note
FROM unnest($1::bigint[], $2::text[]) AS u (id, note)
WHERE d.id = u.id;

-- name: letters_forget
-- Letters that turned out to be of an erased order.
DELETE FROM projector.dead_letters WHERE id = ANY($1::bigint[]);

-- name: letters_discard
-- Give open letters up, for good.
WITH held AS MATERIALIZED (
    SELECT id
    FROM projector.dead_letters
    WHERE id = ANY($1::bigint[]) AND resolved_at IS NULL
    ORDER BY id
    FOR UPDATE
)
UPDATE projector.dead_letters AS d
SET resolved_at = now(), resolution = 'discarded', resolved_by = $2, resolution_note = $3
FROM held
WHERE d.id = held.id
RETURNING d.id, d.reason, d.order_id, d.version;

-- name: orders_behind
-- For each of these orders the version that it needs next, and how many events are parked for it.
SELECT o.order_id, o.version + 1 AS next_version,
       (SELECT count(*) FROM projector.parked_events AS p WHERE p.order_id = o.order_id) AS parked
FROM projector.orders AS o
WHERE o.order_id = ANY($1::text[]) AND NOT o.erased;
