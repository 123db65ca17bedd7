-- What a peer keeps, at the least: one row per order, its newest state. No index but the key's.
CREATE TABLE public.orders (
    order_id    text        PRIMARY KEY,
    version     integer     NOT NULL,  -- of the newest event: 1, 2, 3, …
    status      text        NOT NULL,  -- the order's, after that event
    occurred_at timestamptz NOT NULL,
    event_type  text        NOT NULL,
    event_id    text        NOT NULL,
    data        jsonb       NOT NULL   -- of the newest event
);
