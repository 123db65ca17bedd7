-- What schemas.migrate itself runs. The table is dbmate's.

-- name: prepare
-- The memory of what was applied.
CREATE SCHEMA IF NOT EXISTS projector;
CREATE TABLE IF NOT EXISTS projector.schema_migrations (version varchar PRIMARY KEY);

-- name: known
-- Was this database ever migrated?
SELECT to_regclass('projector.schema_migrations') IS NOT NULL;

-- name: applied
-- The versions applied.
SELECT version FROM projector.schema_migrations;

-- name: remember
-- One more.
INSERT INTO projector.schema_migrations (version) VALUES ($1);

-- name: lock
-- Wait for whoever changes the schema.
SELECT pg_advisory_lock($1);

-- name: unlock
-- Let the next one.
SELECT pg_advisory_unlock($1);
