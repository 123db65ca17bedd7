-- migrate:up

-- The projector's machinery. Readers use schema read_model; operators may read this one.
-- Forward-only, one transaction a file; the format is dbmate's, so that dbmate can apply it too
-- (dbmate --migrations-table projector.schema_migrations).

CREATE SCHEMA IF NOT EXISTS projector;
CREATE SCHEMA IF NOT EXISTS read_model;


-- ---------------------------------------------------------------------------------------------------
-- Who sends events. CloudEvents identifies an event by (source, id); the ledger keeps the source as a
-- number, since there are few and each ledger row and index entry holds one.
-- ---------------------------------------------------------------------------------------------------

CREATE TABLE projector.event_sources (
    source_no integer GENERATED ALWAYS AS IDENTITY,
    source    text COLLATE "C" NOT NULL,
    CONSTRAINT event_sources_pkey PRIMARY KEY (source_no),
    CONSTRAINT event_sources_source_key UNIQUE (source)
);


-- ---------------------------------------------------------------------------------------------------
-- Ledger and journal: one row per applied event. Append-only; only erasure deletes from it.
-- The primary key is the duplicate check; the unique order and version prove that no two events share
-- an order's version, and serve the timeline. No foreign key to event_sources: one look-up per row less,
-- and only the ledger's writer adds sources.
-- ---------------------------------------------------------------------------------------------------

CREATE TABLE projector.ledger (
    event_uuid   uuid NOT NULL,                    -- the id if it is a UUID, else the UUIDv5 of it
    source_no    integer NOT NULL,
    version      bigint NOT NULL,                  -- the order's version that this event makes: 1, 2, 3, …
    occurred_at  timestamptz NOT NULL,             -- the event's own time
    processed_at timestamptz NOT NULL DEFAULT now(),
    order_id     text COLLATE "C" NOT NULL,
    event_type   text COLLATE "C" NOT NULL,
    plain_id     text COLLATE "C",                 -- the id as sent, where event_uuid isn't its text
    data         jsonb,                            -- the event's data as sent; null where there were none
    CONSTRAINT ledger_pkey PRIMARY KEY (event_uuid, source_no),
    CONSTRAINT ledger_order_version_key UNIQUE (order_id, version)
);

CREATE VIEW projector.processed_events AS
SELECT coalesce(l.plain_id, l.event_uuid::text) AS event_id,
       s.source AS event_source,
       l.order_id,
       l.version,
       l.event_type,
       l.occurred_at,
       l.processed_at,
       l.data
FROM projector.ledger AS l
JOIN projector.event_sources AS s USING (source_no);


-- ---------------------------------------------------------------------------------------------------
-- The fold's state per order: what evolve() needs for the next event, and all that the read model
-- order_summary shows. A row without placed_at is an order that isn't placed yet (an unknown type came
-- first, or something waits for its first version); an erased one holds nothing but its id.
-- Pages keep room for HOT updates: an order is updated some five times, and no index covers a column
-- that changes after placement.
-- ---------------------------------------------------------------------------------------------------

CREATE TABLE projector.orders (
    order_id         text COLLATE "C" NOT NULL,
    revision         bigint NOT NULL,              -- writes of this row so far: what a writer compares
    version          bigint NOT NULL,              -- events applied; 0: nothing yet, but something waits
    erased           boolean NOT NULL DEFAULT false,
    status           text COLLATE "C",
    customer_id      text COLLATE "C",
    customer_name    text,
    customer_email   text,
    currency         text COLLATE "C",
    lines            jsonb NOT NULL,
    unit_count       numeric NOT NULL,             -- numeric: the contract sets no upper bound on a quantity
    total            numeric NOT NULL,
    paid             numeric NOT NULL,
    refunded         numeric NOT NULL,
    shipping_address jsonb,
    carrier          text,
    tracking_number  text,
    cancel_reason    text,
    placed_at        timestamptz,
    confirmed_at     timestamptz,
    paid_at          timestamptz,
    shipped_at       timestamptz,
    delivered_at     timestamptz,
    cancelled_at     timestamptz,
    last_event_id    text COLLATE "C",
    last_event_at    timestamptz,
    projected_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT orders_pkey PRIMARY KEY (order_id)
) WITH (fillfactor = 70);

-- A customer's newest order (read_model.customer_summary) and a customer's orders by page.
CREATE INDEX orders_customer_idx ON projector.orders (customer_id, currency, placed_at, order_id)
    WHERE placed_at IS NOT NULL;


-- ---------------------------------------------------------------------------------------------------
-- Events ahead of their turn, whole, so that they are decoded anew (and upcast) when it comes.
-- ---------------------------------------------------------------------------------------------------

CREATE TABLE projector.parked_events (
    arrival      bigint GENERATED ALWAYS AS IDENTITY,  -- of two for one version, the first that came goes first
    event_uuid   uuid NOT NULL,
    source_no    integer NOT NULL,
    order_id     text COLLATE "C" NOT NULL,
    version      bigint NOT NULL,
    event_id     text NOT NULL,
    event_source text NOT NULL,
    event_type   text NOT NULL,
    occurred_at  timestamptz NOT NULL,
    parked_at    timestamptz NOT NULL DEFAULT now(),
    topic        text NOT NULL,
    partition    integer NOT NULL,
    "offset"     bigint NOT NULL,
    "timestamp"  bigint NOT NULL,                  -- the record's, in milliseconds since 1970
    key          bytea,
    value        bytea,
    headers      jsonb NOT NULL,
    CONSTRAINT parked_events_pkey PRIMARY KEY (event_uuid, source_no)
);

-- What waits for an order, in order.
CREATE INDEX parked_events_order_idx ON projector.parked_events (order_id, version, arrival);
-- The oldest that waits (status, alerts).
CREATE INDEX parked_events_parked_at_idx ON projector.parked_events (parked_at);


-- ---------------------------------------------------------------------------------------------------
-- Records that could not be applied, with their raw bytes. Nothing here was poison twice: bytea and
-- lossless JSON headers can hold whatever came.
-- ---------------------------------------------------------------------------------------------------

CREATE TABLE projector.dead_letters (
    id           bigint GENERATED ALWAYS AS IDENTITY,
    reason       text COLLATE "C" NOT NULL,
    order_id     text COLLATE "C",                 -- as far as it could be read
    event_id     text COLLATE "C",
    event_source text COLLATE "C",
    event_type   text COLLATE "C",
    version      bigint,
    event_uuid   uuid,                             -- identity, of events only: an unreadable record has none
    source_no    integer,
    topic        text COLLATE "C" NOT NULL,
    partition    integer NOT NULL,
    "offset"     bigint NOT NULL,
    "timestamp"  bigint NOT NULL,                  -- the record's, in milliseconds since 1970
    error        text NOT NULL,                    -- for a person; never the payload
    key          bytea,
    value        bytea,
    headers      jsonb NOT NULL,
    attempts     integer NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now(),
    resolved_at  timestamptz,                      -- null: open
    resolution   text COLLATE "C",                 -- retried, discarded
    CONSTRAINT dead_letters_pkey PRIMARY KEY (id),
    CONSTRAINT dead_letters_reason_check
        CHECK (reason IN ('unreadable', 'version_conflict', 'invalid_history', 'projection_error'))
);

-- A record has one letter, however often it is read. The bytes are part of it: in a topic that was deleted
-- and made again the same offset is another record.
CREATE UNIQUE INDEX dead_letters_record_key
    ON projector.dead_letters (topic, partition, "offset", md5(coalesce(value, '\x')));
-- Is this event in dead letters already?
CREATE UNIQUE INDEX dead_letters_event_key
    ON projector.dead_letters (event_uuid, source_no) WHERE event_uuid IS NOT NULL;
-- Erasure by order.
CREATE INDEX dead_letters_order_idx ON projector.dead_letters (order_id) WHERE order_id IS NOT NULL;
-- The open ones (status, list).
CREATE INDEX dead_letters_open_idx ON projector.dead_letters (reason, id) WHERE resolved_at IS NULL;


-- ---------------------------------------------------------------------------------------------------
-- How far each partition is applied: the only position that counts. Advanced in the batch's own
-- transaction, by compare-and-set on (epoch, next_offset), so that of two workers that believe they own
-- a partition one can't commit.
-- ---------------------------------------------------------------------------------------------------

CREATE TABLE projector.checkpoints (
    topic         text COLLATE "C" NOT NULL,
    partition     integer NOT NULL,
    next_offset   bigint NOT NULL,                 -- the first not yet applied
    epoch         bigint NOT NULL DEFAULT 0,       -- one more at each change of owner
    owner         text,                            -- who took the partition last, for people
    shard         integer GENERATED ALWAYS AS IDENTITY, -- under which its batches keep their sums; 0 is nobody's
    last_event_at timestamptz,                     -- the time of the newest event applied from it
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT checkpoints_pkey PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);


-- ---------------------------------------------------------------------------------------------------
-- Which read models stand in this database, and in which make.
-- ---------------------------------------------------------------------------------------------------

CREATE TABLE projector.read_models (
    name         text COLLATE "C" NOT NULL,
    fingerprint  text NOT NULL,                    -- of its version, columns and SQL
    installed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT read_models_pkey PRIMARY KEY (name)
);


-- ---------------------------------------------------------------------------------------------------
-- Rebuilds of read models, past and running.
-- ---------------------------------------------------------------------------------------------------

CREATE TABLE projector.rebuilds (
    id          bigint GENERATED ALWAYS AS IDENTITY,
    read_models text[] NOT NULL,
    state       text COLLATE "C" NOT NULL,         -- running, swapped, failed, cancelled
    started_at  timestamptz NOT NULL DEFAULT now(),
    ended_at    timestamptz,
    CONSTRAINT rebuilds_pkey PRIMARY KEY (id)
);

-- migrate:down

-- Forward-only: what a migration brought is taken back by a later one.
