-- The newest state of each order of a batch, one row an order; an older version changes nothing.
INSERT INTO public.orders AS o (order_id, version, status, occurred_at, event_type, event_id, data)
SELECT * FROM unnest($1::text[], $2::integer[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::jsonb[])
ON CONFLICT (order_id) DO UPDATE SET
    version = excluded.version,
    status = excluded.status,
    occurred_at = excluded.occurred_at,
    event_type = excluded.event_type,
    event_id = excluded.event_id,
    data = excluded.data
WHERE excluded.version > o.version
