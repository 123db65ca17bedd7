-- migrate:up

-- A bounded ledger: histories of orders to which nothing has happened for long can be dropped, once they are archived.

-- Whoever waits for these tables makes everybody wait who comes after: rather fail, and be run again.
SET LOCAL lock_timeout = '5s';

-- Orders whose history was dropped. An event of such a version is one that was applied, though its id is known no more.
CREATE TABLE projector.pruned_orders (
    order_id  text COLLATE "C" NOT NULL,
    version   bigint NOT NULL,                     -- up to which the ledger has nothing
    pruned_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pruned_orders_pkey PRIMARY KEY (order_id)
);

-- Where Kafka's partitions ended at some moment: all that was processed before it lies below. Once an archive has come
-- that far, whatever the ledger held then is archived.
CREATE TABLE projector.log_marks (
    noted_at  timestamptz NOT NULL,
    topic     text COLLATE "C" NOT NULL,
    partition integer NOT NULL,
    "end"     bigint NOT NULL,
    CONSTRAINT log_marks_pkey PRIMARY KEY (noted_at, topic, partition)
);

-- migrate:down

-- Forward-only: what a migration brought is taken back by a later one.
