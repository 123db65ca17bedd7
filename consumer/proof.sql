-- What a proof reads: the read models as readers see them, and the machinery's books.

-- name: order_summary
-- All orders.
SELECT * FROM read_model.order_summary ORDER BY order_id COLLATE "C";

-- name: order_timeline
-- All applied events.
SELECT * FROM read_model.order_timeline ORDER BY order_id COLLATE "C", version;

-- name: customer_summary
-- All customers, per currency.
SELECT * FROM read_model.customer_summary ORDER BY customer_id COLLATE "C", currency COLLATE "C";

-- name: product_sales_daily
-- All sales, per day and currency.
SELECT * FROM read_model.product_sales_daily ORDER BY sku COLLATE "C", day, currency COLLATE "C";

-- name: fulfilment_queue
-- All orders to be sent.
SELECT * FROM read_model.fulfilment_queue ORDER BY order_id COLLATE "C";

-- name: processed_events
-- The identities applied.
SELECT event_source, event_id FROM projector.processed_events;

-- name: parked_events
-- The identities that wait.
SELECT event_source, event_id FROM projector.parked_events;

-- name: dead_letters
-- The reasons of all letters but those that were retried with success.
SELECT reason FROM projector.dead_letters WHERE resolution IS DISTINCT FROM 'retried';
