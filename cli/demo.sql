-- What the demo asks of its database.

-- name: has_schema
-- Did somebody migrate this database?
SELECT to_regclass('projector.orders') IS NOT NULL;

-- name: has_orders
-- Is there anything that a demo would mix with?
SELECT EXISTS (SELECT FROM projector.orders);

-- name: create_database
-- One of its own.
CREATE DATABASE {name};

-- name: drop_database
-- And gone again.
DROP DATABASE IF EXISTS {name} WITH (FORCE);

-- name: parked
-- Events that wait for their turn.
SELECT count(*) FROM projector.parked_events;

-- name: examples
-- A few orders to look at.
SELECT order_id, version, status, customer_name, total, currency
FROM read_model.order_summary
ORDER BY version DESC, order_id
LIMIT 3;

-- name: outbox
-- What the shop's commands meant, as CloudEvents' attributes.
SELECT id::text AS id, source, type, aggregateid AS subject, "time", sequence, payload::text AS data
FROM write_model.outbox
ORDER BY position;

-- name: settled
-- Is everything published, and has no saga anything left to do that is under way?
SELECT NOT EXISTS (
    SELECT FROM write_model.outbox AS o
    WHERE o.xid >= (SELECT min(done_below) FROM write_model.outbox_readers)
) AND NOT EXISTS (SELECT FROM write_model.sagas WHERE state ->> 'stage' = 'compensating')
  AND (SELECT count(*) FROM write_model.outbox_readers) = 2;

-- name: not_shown
-- Orders that readers see otherwise than their commands left them.
SELECT w.order_id, w.version, w.status, r.version AS shown_version, r.status AS shown_status
FROM write_model.orders AS w
LEFT JOIN read_model.order_summary AS r USING (order_id)
WHERE (w.version, w.status, w.total, w.paid, w.refunded)
    IS DISTINCT FROM (r.version, r.status, r.total, r.paid, r.refunded)
ORDER BY w.order_id;

-- name: timeline
-- An order's events as readers see them.
SELECT version, event_id, event_type FROM read_model.order_timeline WHERE order_id = $1 ORDER BY version;
