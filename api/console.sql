-- What the console's page asks for, and nobody else does. Whatever the tables' size, it looks at a bounded number of rows:
-- a page that is open asks again every two seconds.

-- name: parked
-- Orders with events ahead of their turn, those that wait for longest first: for which version, and behind which letter.
SELECT p.order_id,
       count(*) AS events,
       min(p.version) AS first_version,
       min(p.parked_at) AS parked_at,
       o.version + 1 AS waits_for,
       (SELECT min(d.id) FROM projector.dead_letters AS d
        WHERE d.order_id = p.order_id AND d.resolved_at IS NULL AND d.version = o.version + 1) AS letter
FROM (
    SELECT order_id, version, parked_at FROM projector.parked_events ORDER BY parked_at LIMIT 1000
) AS p
LEFT JOIN projector.orders AS o USING (order_id)
GROUP BY p.order_id, o.version
ORDER BY min(p.parked_at), p.order_id
LIMIT $1;

-- name: rebuilds
-- The last rebuilds and rollbacks.
SELECT id, read_models, state, source, phase, events, expected, started_at, seen_at, ended_at, error
FROM projector.rebuilds
ORDER BY id DESC
LIMIT $1;

-- name: written_version
-- At which version an order's commands left it.
SELECT version FROM write_model.orders WHERE order_id = $1;
