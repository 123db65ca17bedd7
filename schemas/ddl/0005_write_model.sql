-- migrate:up

-- The write side: orders as their commands left them, the outbox, what was answered under a key, and sagas.

SET LOCAL lock_timeout = '5s';

CREATE SCHEMA IF NOT EXISTS write_model;


-- ---------------------------------------------------------------------------------------------------
-- Orders. `state` is the fold's state as JSON (producer.order_json); what is compared and shown is beside it.
-- ---------------------------------------------------------------------------------------------------

CREATE TABLE write_model.orders (
    order_id   text COLLATE "C" NOT NULL,
    version    bigint NOT NULL,
    state      jsonb NOT NULL,
    xid        xid8 NOT NULL,                        -- the highest of the transactions that wrote it
    status     text COLLATE "C" GENERATED ALWAYS AS (state ->> 'status') STORED,
    total      numeric GENERATED ALWAYS AS ((state ->> 'total')::numeric) STORED,
    paid       numeric GENERATED ALWAYS AS ((state ->> 'paid')::numeric) STORED,
    refunded   numeric GENERATED ALWAYS AS ((state ->> 'refunded')::numeric) STORED,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT orders_pkey PRIMARY KEY (order_id)
) WITH (fillfactor = 70);


-- ---------------------------------------------------------------------------------------------------
-- The outbox: events to be published, never changed once written, so that Debezium's outbox event router
-- can read the same table. Columns under the router's own names; `time`, `source` and `specversion` are
-- CloudEvents' attributes as they go out.
--
-- `position` grows within an order, since it is drawn while the order's row is locked, and so does `xid`, below
-- which everything has to be decided before the row is read (producer.reader). By day, so that old rows go by dropping a
-- partition; what comes on a day that has none goes to the last one.
-- ---------------------------------------------------------------------------------------------------

CREATE TABLE write_model.outbox (
    position      bigint GENERATED ALWAYS AS IDENTITY,
    xid           xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id            uuid NOT NULL,                     -- the event's id
    aggregatetype text COLLATE "C" NOT NULL DEFAULT 'order',
    aggregateid   text COLLATE "C" NOT NULL,         -- the order's id: Kafka's key
    type          text COLLATE "C" NOT NULL,
    sequence      bigint NOT NULL,                   -- the order's version that this event makes
    source        text COLLATE "C" NOT NULL,
    specversion   text COLLATE "C" NOT NULL DEFAULT '1.0',
    "time"        text COLLATE "C" NOT NULL,         -- RFC 3339, of occurred_at
    traceparent   text COLLATE "C",
    payload       jsonb NOT NULL,
    occurred_at   timestamptz NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (created_at);

CREATE TABLE write_model.outbox_other PARTITION OF write_model.outbox DEFAULT;

CREATE UNIQUE INDEX outbox_position_key ON write_model.outbox (position, created_at);
-- A window of transactions, and where in it to begin.
CREATE INDEX outbox_xid_idx ON write_model.outbox (xid, position);
-- An order's events, for local writes whose earlier events have not arrived yet.
CREATE INDEX outbox_order_idx ON write_model.outbox (aggregateid, sequence);


-- ---------------------------------------------------------------------------------------------------
-- How far each reader of the outbox has come. Everything of transactions below `done_below` is read; of
-- those from there to `window_end`, what lies at positions up to `position`.
-- ---------------------------------------------------------------------------------------------------

CREATE TABLE write_model.outbox_readers (
    name       text COLLATE "C" NOT NULL,
    epoch      bigint NOT NULL DEFAULT 0,            -- one more at each change of leader
    done_below xid8 NOT NULL DEFAULT '0',
    window_end xid8 NOT NULL DEFAULT '0',
    position   bigint NOT NULL DEFAULT 0,
    leader     text,                                 -- who took over last, for people
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT outbox_readers_pkey PRIMARY KEY (name)
) WITH (fillfactor = 50);


-- Orders whose next event a reader couldn't deliver, for what it is itself: from that event on they wait.
CREATE TABLE write_model.outbox_held (
    reader      text COLLATE "C" NOT NULL,
    aggregateid text COLLATE "C" NOT NULL,
    position    bigint NOT NULL,
    error       text NOT NULL,                       -- for a person; never the payload
    held_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT outbox_held_pkey PRIMARY KEY (reader, aggregateid)
);


-- ---------------------------------------------------------------------------------------------------
-- What was answered under an idempotency key. `fingerprint` is of the request; another one is refused.
-- ---------------------------------------------------------------------------------------------------

CREATE TABLE write_model.idempotency_keys (
    scope       text COLLATE "C" NOT NULL,           -- whose key it is
    key         text COLLATE "C" NOT NULL,
    fingerprint text COLLATE "C" NOT NULL,
    answer      jsonb NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (scope, key)
);

CREATE INDEX idempotency_keys_created_at_idx ON write_model.idempotency_keys (created_at);


-- ---------------------------------------------------------------------------------------------------
-- Sagas: a process per order, and every step that it took. A step's key is what it reacted to, so that
-- nothing has an effect twice.
-- ---------------------------------------------------------------------------------------------------

CREATE TABLE write_model.sagas (
    name       text COLLATE "C" NOT NULL,
    order_id   text COLLATE "C" NOT NULL,
    version    bigint NOT NULL,                      -- of the order, up to which the saga has read
    state      jsonb NOT NULL,
    timer      text COLLATE "C",                     -- what falls due, at
    due_at     timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT sagas_pkey PRIMARY KEY (name, order_id)
) WITH (fillfactor = 70);

CREATE INDEX sagas_due_idx ON write_model.sagas (name, due_at) WHERE due_at IS NOT NULL;

CREATE TABLE write_model.saga_steps (
    step       bigint GENERATED ALWAYS AS IDENTITY,
    name       text COLLATE "C" NOT NULL,
    order_id   text COLLATE "C" NOT NULL,
    cause      text COLLATE "C" NOT NULL,            -- the event's id, or the timer and when it fell due
    caused_by  text COLLATE "C" NOT NULL,            -- the event's type, or the timer's name
    before     text COLLATE "C" NOT NULL,            -- the saga's stage, and
    after      text COLLATE "C" NOT NULL,
    commands   jsonb NOT NULL,                       -- what it asked for, and what became of it
    taken_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT saga_steps_pkey PRIMARY KEY (step),
    CONSTRAINT saga_steps_cause_key UNIQUE (name, order_id, cause)
);


-- ---------------------------------------------------------------------------------------------------
-- The outbox's partitions, for programs that own no tables: days are UTC's. Both lock the whole outbox for a moment, and
-- whoever waits for that makes everybody wait: so they give up soon, to be called again.
-- ---------------------------------------------------------------------------------------------------

-- Make the partitions of today and the days after it that are missing. Nothing of a day can be in outbox_other when its
-- partition is made, unless none was made for days: then that day stays there, and the next one gets its own.
CREATE FUNCTION write_model.outbox_make_partitions(days integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    day  date;
    made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(5830117226904417);
    FOR day IN
        SELECT (now() AT TIME ZONE 'UTC')::date + n FROM generate_series(0, days) AS n
    LOOP
        CONTINUE WHEN to_regclass(format('write_model.outbox_%s', to_char(day, 'YYYYMMDD'))) IS NOT NULL;
        CONTINUE WHEN EXISTS (
            SELECT FROM write_model.outbox_other
            WHERE created_at >= day::timestamp AT TIME ZONE 'UTC' AND created_at < (day + 1)::timestamp AT TIME ZONE 'UTC'
        );
        EXECUTE format(
            'CREATE TABLE write_model.outbox_%s PARTITION OF write_model.outbox FOR VALUES FROM (%L) TO (%L)',
            to_char(day, 'YYYYMMDD'), day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC'
        );
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;

-- Drop the partitions of days that ended `days` ago or earlier and that every reader has read to the end; their names.
CREATE FUNCTION write_model.outbox_drop_partitions(days integer) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    found record;
    unread boolean;
BEGIN
    IF days < 1 THEN
        RAISE EXCEPTION 'at least the last day has to be kept' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(5830117226904417);
    FOR found IN
        SELECT c.relname AS name
        FROM pg_inherits AS i
        JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'write_model.outbox'::regclass
          AND c.relname ~ '^outbox_[0-9]{8}$'
          AND to_date(right(c.relname, 8), 'YYYYMMDD') < (now() AT TIME ZONE 'UTC')::date - days
        ORDER BY c.relname
    LOOP
        EXECUTE format(
            'SELECT EXISTS ('
            'SELECT FROM write_model.%1$I WHERE xid >= (SELECT min(done_below) FROM write_model.outbox_readers)'
            ') OR EXISTS ('
            'SELECT FROM write_model.%1$I AS o JOIN write_model.outbox_held AS h USING (aggregateid)'
            ' WHERE o.position >= h.position)',
            found.name
        ) INTO unread;
        CONTINUE WHEN unread OR NOT EXISTS (SELECT FROM write_model.outbox_readers);
        EXECUTE format('DROP TABLE write_model.%I', found.name);
        RETURN NEXT found.name;
    END LOOP;
END
$$;

SELECT write_model.outbox_make_partitions(7);

REVOKE ALL ON FUNCTION write_model.outbox_make_partitions(integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION write_model.outbox_drop_partitions(integer) FROM PUBLIC;

-- migrate:down

-- Forward-only: what a migration brought is taken back by a later one.
