-- The ledger read as a journal: an order's events, in version order.

-- name: next_bound
-- The order with which the next range of some $2 events begins. No row: what follows $1 is one range.
SELECT order_id
FROM projector.ledger
WHERE order_id > $1
ORDER BY order_id, version
OFFSET $2
LIMIT 1;

-- name: range
-- All events of a range of orders, from $1 (included) to $2 (excluded, null: to the end).
SELECT l.order_id, l.version, l.event_uuid::text AS event_uuid, l.plain_id, s.source, l.event_type, l.occurred_at,
       l.data::text AS data, l.schema_version
FROM projector.ledger AS l
JOIN projector.event_sources AS s USING (source_no)
WHERE l.order_id >= $1
  AND ($2::text IS NULL OR l.order_id < $2)
ORDER BY l.order_id, l.version;

-- name: after
-- The events of each of these orders from the version after the given one on.
SELECT l.order_id, l.version, l.event_uuid::text AS event_uuid, l.plain_id, s.source, l.event_type, l.occurred_at,
       l.data::text AS data, l.schema_version
FROM unnest($1::text[], $2::bigint[]) AS u (order_id, version)
JOIN projector.ledger AS l ON l.order_id = u.order_id AND l.version > u.version
JOIN projector.event_sources AS s USING (source_no)
ORDER BY l.order_id, l.version;
