-- Who may do what in the projector's database. Not part of `projector migrate`, which can't make roles: an
-- administrator runs it with any client, after the first `projector migrate`, and again whenever somebody else than
-- projector_owner has made tables. It may be run as often as one likes. What it takes from everybody: making tables in
-- schema public, and temporary ones.
--
--     psql "$DATABASE_URL" --set ON_ERROR_STOP=1 --single-transaction --file schemas/roles.sql
--
-- The administrator is a superuser, or owns the database and has CREATEROLE. The roles are groups that nobody logs
-- in as; docs/security.md says how a login gets one, and docs/decisions/0011 why it is done this way.


-- ---------------------------------------------------------------------------------------------------
-- The groups. Roles belong to the whole cluster, so another database may have made them already.
-- ---------------------------------------------------------------------------------------------------

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY[
        'projector_owner',     -- owns every object: migrations
        'projector_worker',    -- writes rows, in the tables that a batch writes
        'projector_operator',  -- status and dead letters; what it retries is written as a worker writes
        'projector_api',       -- reads read models
        'projector_rebuild',   -- makes read models anew
        'projector_relay',     -- publishes the outbox
        'projector_shop'       -- takes commands and runs sagas: the write model
    ] LOOP
        IF to_regrole(wanted) IS NULL THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
    END LOOP;
    -- To hand things over to the owner one has to be a member of it; a superuser is.
    IF NOT pg_has_role('projector_owner', 'USAGE') THEN
        GRANT projector_owner TO CURRENT_USER;
    END IF;
END
$$;


-- ---------------------------------------------------------------------------------------------------
-- Nobody may do what needn't be done: make tables in `public`, or temporary ones (which fill the disk
-- and are allowed even in read-only transactions).
-- ---------------------------------------------------------------------------------------------------

REVOKE CREATE ON SCHEMA public FROM PUBLIC;

DO $$
BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format(
        'GRANT CONNECT ON DATABASE %I TO projector_owner, projector_worker, projector_operator, projector_api, '
        'projector_rebuild, projector_relay, projector_shop',
        current_database()
    );
    -- `migrate` makes sure of its schemas each time, and a release may bring another one.
    EXECUTE format('GRANT CREATE, TEMPORARY ON DATABASE %I TO projector_owner', current_database());
END
$$;


-- ---------------------------------------------------------------------------------------------------
-- The owner owns both schemas and all that is in them, whoever made it. Read models are views, which run
-- with their owner's rights: who reads them needs no right on the tables behind.
-- ---------------------------------------------------------------------------------------------------

ALTER SCHEMA projector OWNER TO projector_owner;
ALTER SCHEMA read_model OWNER TO projector_owner;
ALTER SCHEMA write_model OWNER TO projector_owner;

DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT c.relnamespace::regnamespace AS schema, c.relname AS name, c.relkind AS kind
        FROM pg_class AS c
        WHERE c.relnamespace IN ('projector'::regnamespace, 'read_model'::regnamespace, 'write_model'::regnamespace)
          AND c.relkind IN ('r', 'p', 'v', 'm')  -- indexes and identities go with their table
          AND c.relowner <> 'projector_owner'::regrole
    LOOP
        EXECUTE format(
            'ALTER %s %s.%I OWNER TO projector_owner',
            CASE found.kind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END,
            found.schema, found.name
        );
    END LOOP;
    FOR found IN
        SELECT p.oid::regprocedure AS name
        FROM pg_proc AS p
        WHERE p.pronamespace IN ('projector'::regnamespace, 'write_model'::regnamespace) AND p.proowner <> 'projector_owner'::regrole
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO projector_owner', found.name);
    END LOOP;
END
$$;


-- ---------------------------------------------------------------------------------------------------
-- Workers: rows, never tables. What stands in this database is migrate's to write, and a worker's to read.
-- ---------------------------------------------------------------------------------------------------

GRANT USAGE ON SCHEMA projector TO projector_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA projector TO projector_worker;
REVOKE INSERT, UPDATE, DELETE
    ON projector.schema_migrations, projector.read_models, projector.rebuilds
    FROM projector_worker;


-- ---------------------------------------------------------------------------------------------------
-- Operators: the same, but for the checkpoints. A retry writes what a batch writes and moves no position.
-- ---------------------------------------------------------------------------------------------------

GRANT USAGE ON SCHEMA projector TO projector_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA projector TO projector_operator;
REVOKE INSERT, UPDATE, DELETE
    ON projector.schema_migrations, projector.read_models, projector.rebuilds, projector.checkpoints
    FROM projector_operator;


-- ---------------------------------------------------------------------------------------------------
-- The API: read models, and how fresh they are.
-- ---------------------------------------------------------------------------------------------------

GRANT USAGE ON SCHEMA projector, read_model TO projector_api;
GRANT SELECT ON ALL TABLES IN SCHEMA read_model TO projector_api;
GRANT SELECT
    ON projector.checkpoints, projector.read_models, projector.schema_migrations, projector.rebuilds
    TO projector_api;
GRANT SELECT (order_id, parked_at) ON projector.parked_events TO projector_api;
GRANT SELECT (reason, created_at, resolved_at) ON projector.dead_letters TO projector_api;
GRANT USAGE ON SCHEMA write_model TO projector_api;
GRANT SELECT ON write_model.orders TO projector_api;


-- ---------------------------------------------------------------------------------------------------
-- Rebuilds and pruning, which may become the owner: PostgreSQL renames, drops and replaces for owners
-- alone, and only what the owner makes has the rights below from the start. NOINHERIT: until
-- SET ROLE projector_owner is said, it is a reader, of what readers see too: that is what verify needs.
-- ---------------------------------------------------------------------------------------------------

ALTER ROLE projector_rebuild NOINHERIT;
GRANT projector_owner TO projector_rebuild;
GRANT USAGE ON SCHEMA projector, read_model TO projector_rebuild;
GRANT SELECT ON ALL TABLES IN SCHEMA projector, read_model TO projector_rebuild;


-- ---------------------------------------------------------------------------------------------------
-- The relay: reads the outbox, remembers how far it is, and has old days and old keys go. It sees no order's state.
-- ---------------------------------------------------------------------------------------------------

GRANT USAGE ON SCHEMA write_model, projector TO projector_relay;
GRANT SELECT ON projector.schema_migrations TO projector_relay;
GRANT SELECT ON write_model.outbox TO projector_relay;
GRANT SELECT, INSERT, UPDATE ON write_model.outbox_readers TO projector_relay;
GRANT SELECT, DELETE ON write_model.idempotency_keys TO projector_relay;
GRANT SELECT, INSERT, DELETE ON write_model.outbox_held TO projector_relay;
GRANT EXECUTE ON FUNCTION
    write_model.outbox_make_partitions(integer), write_model.outbox_drop_partitions(integer)
    TO projector_relay;


-- ---------------------------------------------------------------------------------------------------
-- The shop: takes commands, runs sagas. What is in the outbox stays as it is. Commands that change the read models at
-- once (local-first, synchronous) write what a worker writes: a login for that is a member of projector_worker too.
-- ---------------------------------------------------------------------------------------------------

GRANT USAGE ON SCHEMA write_model, projector TO projector_shop;
GRANT SELECT ON projector.schema_migrations TO projector_shop;
GRANT SELECT, INSERT ON write_model.outbox, write_model.idempotency_keys, write_model.saga_steps TO projector_shop;
GRANT SELECT, INSERT, UPDATE
    ON write_model.orders, write_model.sagas, write_model.outbox_readers
    TO projector_shop;


-- ---------------------------------------------------------------------------------------------------
-- What the owner makes from now on: tables of new read models and their views, shadows of a rebuild.
-- ---------------------------------------------------------------------------------------------------

ALTER DEFAULT PRIVILEGES FOR ROLE projector_owner IN SCHEMA projector
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO projector_worker, projector_operator;
ALTER DEFAULT PRIVILEGES FOR ROLE projector_owner IN SCHEMA projector
    GRANT SELECT ON TABLES TO projector_rebuild;
ALTER DEFAULT PRIVILEGES FOR ROLE projector_owner IN SCHEMA read_model
    GRANT SELECT ON TABLES TO projector_api, projector_rebuild;
