-- What the kit asks of a server and of the projector's tables. {braces} are filled with quoted identifiers.

-- name: database_create
-- A database with nothing in it.
CREATE DATABASE {name};

-- name: database_clone
-- A database as another one is.
CREATE DATABASE {name} TEMPLATE {template};

-- name: database_drop
-- A database that goes, and whoever is connected to it.
DROP DATABASE IF EXISTS {name} WITH (FORCE);

-- name: checkpoints
-- How far every partition is applied.
SELECT topic, partition, next_offset FROM projector.checkpoints;

-- name: read_model
-- A read model as readers see it.
SELECT * FROM {relation};

-- name: unreadable
-- How many records were no events, and are not by now.
SELECT count(*) FROM projector.dead_letters WHERE reason = 'unreadable' AND resolution IS DISTINCT FROM 'retried';

-- name: fates
-- What became of the events of an order.
SELECT event_source, event_id, 'applied' AS fate FROM projector.processed_events WHERE order_id = $1
UNION ALL
SELECT event_source, event_id, 'parked' FROM projector.parked_events WHERE order_id = $1
UNION ALL
SELECT event_source, event_id, 'dead letter, ' || reason || ': ' || error FROM projector.dead_letters
WHERE order_id = $1 AND event_id IS NOT NULL AND resolution IS DISTINCT FROM 'retried';
