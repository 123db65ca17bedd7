-- The newest state of an order; an older version changes nothing.
INSERT INTO public.orders AS o (order_id, version, status, occurred_at, event_type, event_id, data)
VALUES (?, ?, ?, ?::timestamptz, ?, ?, ?::jsonb)
ON CONFLICT (order_id) DO UPDATE SET
    version = excluded.version,
    status = excluded.status,
    occurred_at = excluded.occurred_at,
    event_type = excluded.event_type,
    event_id = excluded.event_id,
    data = excluded.data
WHERE excluded.version > o.version
