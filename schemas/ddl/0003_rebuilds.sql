-- migrate:up

-- What a rebuild needs: the journal with the version of each event's data, so that it is upcast on reading as it was
-- from Kafka; the makes of what stands here; a rebuild's own record. Every column may be null or has a default, so
-- that workers of the release before go on writing.

-- Whoever waits for these tables makes everybody wait who comes after: rather fail, and be run again.
SET LOCAL lock_timeout = '5s';

-- Null: 1, or not recorded (before this migration). Such data are read as version 1, or as 0 if they are not that.
ALTER TABLE projector.ledger ADD COLUMN schema_version integer;

ALTER TABLE projector.read_models
    ADD COLUMN generation bigint NOT NULL DEFAULT 1;  -- one more each time its rows are swapped for others

-- The orders' states are no read model, but made by code too (schemas.order), and rebuilt like one.
INSERT INTO projector.read_models (name, fingerprint) VALUES ('orders', 'fold 1');

ALTER TABLE projector.rebuilds
    ADD COLUMN source   text COLLATE "C",              -- log, journal, archive; null: a rollback
    ADD COLUMN phase    text COLLATE "C",              -- where it is, or was when it ended
    ADD COLUMN plan     jsonb,                         -- what it was to do: whoever resumes it must want the same
    ADD COLUMN events   bigint NOT NULL DEFAULT 0,     -- folded so far
    ADD COLUMN expected bigint,                        -- to be folded, as far as is known
    ADD COLUMN seen_at  timestamptz,                   -- when it last said so
    ADD COLUMN error    text;                          -- why it ended, if not well

-- While a rebuild runs, a trigger notes here which orders are written. Rows are only added and taken away, never shared
-- by two writers: a note that was there already would not be seen to be meant twice.
CREATE TABLE projector.touched_orders (
    order_id text COLLATE "C" NOT NULL
);

CREATE FUNCTION projector.touch_orders() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO projector.touched_orders (order_id) SELECT order_id FROM written;
    RETURN NULL;
END
$$;

-- migrate:down

-- Forward-only: what a migration brought is taken back by a later one.
