-- The HTTP service's SQL, by name. Rows come as the JSON that goes out: money as decimal text, times in UTC.

-- name: versions
-- At which versions readers see these orders.
SELECT order_id, version FROM read_model.order_summary WHERE order_id = ANY($1::text[]);

-- name: written
-- An order as its commands left it.
SELECT version, state::text AS state FROM write_model.orders WHERE order_id = $1;

-- name: orders
-- A page of orders, by id. Filters that are null don't count.
SELECT s.order_id AS key,
       (to_jsonb(s) || jsonb_build_object(
            'total', s.total::text, 'paid', s.paid::text, 'refunded', s.refunded::text
       ))::text AS body
FROM read_model.order_summary AS s
WHERE ($1::text IS NULL OR s.customer_id = $1)
  AND ($2::text IS NULL OR s.status = $2)
  AND ($3::text IS NULL OR s.order_id > $3)
ORDER BY s.order_id
LIMIT $4;

-- name: timeline
-- A page of an order's events, by version.
SELECT t.version AS key, to_jsonb(t)::text AS body
FROM read_model.order_timeline AS t
WHERE t.order_id = $1 AND t.version > $2
ORDER BY t.version
LIMIT $3;

-- name: customer
-- A customer, one row per currency.
SELECT (to_jsonb(c) || jsonb_build_object('revenue', c.revenue::text))::text AS body
FROM read_model.customer_summary AS c
WHERE c.customer_id = $1
ORDER BY c.currency;

-- name: sales
-- A page of a product's sales by day, the newest day last.
SELECT p.day::text AS day, p.currency,
       (to_jsonb(p) || jsonb_build_object('revenue', p.revenue::text))::text AS body
FROM read_model.product_sales_daily AS p
WHERE p.sku = $1
  AND p.day BETWEEN coalesce($2::date, '-infinity') AND coalesce($3::date, 'infinity')
  AND ($4::text IS NULL OR (p.day, p.currency) > ($4::text::date, $5::text))
ORDER BY p.day, p.currency
LIMIT $6;

-- name: queue
-- A page of what is to be shipped, what is ready for longest first.
SELECT q.ready_since::text AS ready_since, q.order_id,
       (to_jsonb(q) || jsonb_build_object('total', q.total::text))::text AS body
FROM read_model.fulfilment_queue AS q
WHERE $1::text IS NULL OR (q.ready_since, q.order_id) > ($1::text::timestamptz, $2::text)
ORDER BY q.ready_since, q.order_id
LIMIT $3;

-- name: alive
-- Does PostgreSQL answer?
SELECT 1;
