-- What the benchmark asks a peer's database, by name.

-- name: applied
-- How many events are in: an order's versions are 1, 2, 3, …, so that is the sum of the newest.
SELECT coalesce(sum(version), 0)::bigint FROM public.orders;

-- name: last_ones
-- How many of these orders have these versions: a look that costs as many index lookups as there are partitions.
SELECT count(*)
FROM unnest($1::text[], $2::integer[]) AS u (order_id, version)
JOIN public.orders AS o ON o.order_id = u.order_id AND o.version >= u.version;

-- name: by_index
-- A table that was never analysed looks small to the planner; a look must not read it from end to end.
SET enable_seqscan = off;

-- name: rows
-- All of it, for the proof.
SELECT order_id, version, status, occurred_at::timestamptz AS occurred_at, event_type, event_id, data::text AS data
FROM public.orders;
