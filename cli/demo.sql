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
