-- The ledger kept bounded: what is dropped, and what says that it may be.

-- name: now
-- The server's clock, by which rows say when they were processed.
SELECT clock_timestamp();

-- name: other_topics
-- Topics beyond these from which something was applied.
SELECT DISTINCT topic FROM projector.checkpoints WHERE topic <> ALL($1::text[]) AND next_offset > 0 ORDER BY topic;

-- name: mark
-- Note where the partitions end.
INSERT INTO projector.log_marks (noted_at, topic, partition, "end")
SELECT $1::timestamptz, u.topic, u.partition, u."end"
FROM unnest($2::text[], $3::integer[], $4::bigint[]) AS u (topic, partition, "end");

-- name: marks
-- What was noted, the newest first.
SELECT noted_at, topic, partition, "end" FROM projector.log_marks ORDER BY noted_at DESC, topic, partition;

-- name: unmark
-- Older marks say nothing that a newer one, which an archive has reached too, doesn't.
DELETE FROM projector.log_marks WHERE noted_at < $1;

-- name: orders_page
-- The next orders by id, and whether their last event is old enough.
SELECT order_id, last_event_at < $2 AND NOT erased AS old
FROM projector.orders
WHERE order_id > $1
ORDER BY order_id
LIMIT $3;

-- name: orders_locked
-- Those to which nothing happens just now, and nothing can until the transaction ends.
SELECT order_id
FROM projector.orders
WHERE order_id = ANY($1::text[]) AND last_event_at < $2 AND NOT erased
ORDER BY order_id
FOR NO KEY UPDATE SKIP LOCKED;

-- name: drop_histories
-- Drop the history of those orders all of whose events happened before $2 and were processed before $3, and for which
-- nothing is parked or lies in dead letters, and note that.
WITH whole AS (
    SELECT l.order_id, max(l.version) AS version
    FROM projector.ledger AS l
    WHERE l.order_id = ANY($1::text[])
      AND NOT EXISTS (SELECT FROM projector.parked_events AS p WHERE p.order_id = l.order_id)
      AND NOT EXISTS (
          SELECT FROM projector.dead_letters AS d WHERE d.order_id = l.order_id AND d.resolved_at IS NULL
      )
    GROUP BY l.order_id
    HAVING max(l.occurred_at) < $2 AND max(l.processed_at) < $3
), noted AS (
    INSERT INTO projector.pruned_orders AS p (order_id, version)
    SELECT order_id, version FROM whole
    ON CONFLICT (order_id) DO UPDATE SET version = excluded.version, pruned_at = now()
), dropped AS (
    DELETE FROM projector.ledger AS l
    USING whole
    WHERE l.order_id = whole.order_id
    RETURNING l.order_id
)
SELECT count(DISTINCT order_id) AS orders, count(*) AS events FROM dropped;
