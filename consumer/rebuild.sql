-- SQL of rebuilds. {braces} are filled with quoted identifiers; the statements that SQL itself writes come from the
-- catalog, so that what a database's owner has added to a table (an index, a grant) is there afterwards too.

-- name: owner
-- Whose the tables are, if this session isn't them already.
SELECT relowner::regrole::text FROM pg_class WHERE oid = 'projector.orders'::regclass AND relowner <> current_user::regrole;

-- name: become
-- Make tables as their owner.
SET ROLE {owner};

-- name: no_limits
-- A role or a database may have time limits that are meant for others. What this session waits for, it says itself.
SELECT set_config(name, '0', false)
FROM pg_settings
WHERE name IN (
    'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout',
    'transaction_timeout'
);

-- name: lock_timeout
-- No statement of this transaction waits for a lock longer than that: whoever waits makes all wait that come after.
SELECT set_config('lock_timeout', $1, true);

-- name: statement_timeout
-- No statement of this transaction takes longer than that.
SELECT set_config('statement_timeout', $1, true);

-- name: record_begin
-- A rebuild begins.
INSERT INTO projector.rebuilds (read_models, state, source, phase, plan, seen_at)
VALUES ($1, 'running', $2, $3, $4::jsonb, now())
RETURNING id;

-- name: record_rollback
-- A rollback begins.
INSERT INTO projector.rebuilds (read_models, state, phase, seen_at) VALUES ($1, 'running', 'catch_up', now())
RETURNING id;

-- name: record_again
-- A rebuild goes on.
UPDATE projector.rebuilds SET state = 'running', ended_at = NULL, error = NULL, seen_at = now() WHERE id = $1;

-- name: record_phase
-- Where it is.
UPDATE projector.rebuilds SET phase = $2, seen_at = now() WHERE id = $1;

-- name: record_progress
-- How far it is, and whether somebody has asked it to end.
UPDATE projector.rebuilds
SET events = $2, expected = $3, seen_at = now()
WHERE id = $1
RETURNING state;

-- name: record_end
-- It has ended, by the clock: a swap is in a transaction that began earlier.
UPDATE projector.rebuilds
SET state = $2, error = $3, ended_at = clock_timestamp(), seen_at = clock_timestamp()
WHERE id = $1;

-- name: record_last
-- The last rebuild that has left something, or runs.
SELECT id, state, source, phase, plan::text AS plan, read_models, events, expected
FROM projector.rebuilds
WHERE plan IS NOT NULL AND state IN ('running', 'cancelling', 'kept', 'failed')
ORDER BY id DESC
LIMIT 1;

-- name: record_superseded
-- What others have left is gone: nobody goes on with it.
UPDATE projector.rebuilds SET plan = NULL WHERE id <> $1 AND plan IS NOT NULL;

-- name: record_lost
-- Those whose process is gone.
UPDATE projector.rebuilds
SET state = 'failed', ended_at = now(), error = 'the process ended without a word'
WHERE state IN ('running', 'cancelling') AND id IS DISTINCT FROM $1;

-- name: record_cancel
-- Ask the one that runs to end.
UPDATE projector.rebuilds SET state = 'cancelling' WHERE state = 'running' RETURNING id;

-- name: schema_there
-- Does this schema exist?
SELECT to_regnamespace($1) IS NOT NULL;

-- name: schema_create
-- Where the shadow's tables stand until they take over.
CREATE SCHEMA {schema};

-- name: schema_drop
-- All that stands in it.
DROP SCHEMA IF EXISTS {schema} CASCADE;

-- name: tables_in
-- Which tables stand in a schema.
SELECT relname FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'p') ORDER BY relname;

-- name: like_live
-- The statement that makes a table like the live one, without its indexes.
SELECT format('CREATE TABLE %I.%I (LIKE projector.%I INCLUDING ALL EXCLUDING INDEXES)', $1::text, c.relname, c.relname)
    || coalesce(' WITH (' || array_to_string(c.reloptions, ', ') || ')', '')
    || coalesce(' TABLESPACE ' || quote_ident(t.spcname), '')
FROM pg_class AS c
LEFT JOIN pg_tablespace AS t ON t.oid = c.reltablespace
WHERE c.oid = format('projector.%I', $2::text)::regclass;

-- name: grants_like_live
-- The statements that give others the rights that they have on the live table.
SELECT format(
           'GRANT %s ON %I.%I TO %s%s', a.privilege_type, $1::text, c.relname,
           CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
           CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
       )
FROM pg_class AS c
CROSS JOIN aclexplode(c.relacl) AS a
WHERE c.oid = format('projector.%I', $2::text)::regclass AND a.grantee <> c.relowner;

-- name: indexes_like_live
-- The statements that give a shadow table the indexes of the live one that it lacks, and the constraints they stand for.
SELECT replace(
           pg_get_indexdef(i.indexrelid),
           format(' ON %I.%I USING ', 'projector', c.relname), format(' ON %I.%I USING ', $1::text, c.relname)
       ) AS create_index,
       CASE WHEN k.conname IS NOT NULL THEN format(
           'ALTER TABLE %I.%I ADD CONSTRAINT %I %s USING INDEX %I', $1::text, c.relname, k.conname,
           CASE k.contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, x.relname
       ) END AS add_constraint
FROM pg_class AS c
JOIN pg_index AS i ON i.indrelid = c.oid
JOIN pg_class AS x ON x.oid = i.indexrelid
LEFT JOIN pg_constraint AS k ON k.conindid = i.indexrelid AND k.conrelid = c.oid AND k.contype IN ('p', 'u')
WHERE c.oid = format('projector.%I', $2::text)::regclass
  AND i.indisvalid
  AND to_regclass(format('%I.%I', $1::text, x.relname)) IS NULL
  -- Of a read model in another make, columns may have gone, and their indexes with them.
  AND NOT EXISTS (
      SELECT
      FROM pg_attribute AS a
      WHERE a.attrelid = c.oid
        AND (
            a.attnum = ANY (i.indkey)
            OR a.attnum IN (
                SELECT d.refobjsubid
                FROM pg_depend AS d
                WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                  AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
            )
        )
        AND NOT EXISTS (
            SELECT
            FROM pg_attribute AS s
            WHERE s.attrelid = format('%I.%I', $1::text, c.relname)::regclass
              AND s.attname = a.attname
              AND NOT s.attisdropped
        )
  )
ORDER BY x.relname;

-- name: columns_like_live
-- The statements that give a shadow table's columns the rights and statistics targets of the live ones, and it the
-- comment.
SELECT format(
           'GRANT %s (%I) ON %I.%I TO %s%s', g.privilege_type, a.attname, $1::text, c.relname,
           CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END,
           CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
       )
FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attacl IS NOT NULL AND NOT a.attisdropped
JOIN pg_attribute AS s ON s.attrelid = format('%I.%I', $1::text, c.relname)::regclass AND s.attname = a.attname
CROSS JOIN aclexplode(a.attacl) AS g
WHERE c.oid = format('projector.%I', $2::text)::regclass
UNION ALL
SELECT format('ALTER TABLE %I.%I ALTER COLUMN %I SET STATISTICS %s', $1::text, c.relname, a.attname, a.attstattarget)
FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attstattarget >= 0 AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_attribute AS s ON s.attrelid = format('%I.%I', $1::text, c.relname)::regclass AND s.attname = a.attname
WHERE c.oid = format('projector.%I', $2::text)::regclass
UNION ALL
SELECT format('COMMENT ON TABLE %I.%I IS %L', $1::text, c.relname, obj_description(c.oid, 'pg_class'))
FROM pg_class AS c
WHERE c.oid = format('projector.%I', $2::text)::regclass AND obj_description(c.oid, 'pg_class') IS NOT NULL;

-- name: parts_create
-- The bulk's ranges of orders, and which of them are done.
CREATE TABLE {schema}.parts (
    part     integer PRIMARY KEY,
    first    text COLLATE "C" NOT NULL,
    "end"    text COLLATE "C",
    events   bigint
);

-- name: parts_add
-- The ranges.
INSERT INTO {schema}.parts (part, first, "end")
SELECT * FROM unnest($1::integer[], $2::text[], $3::text[]);

-- name: parts_read
-- All of them, events null where it isn't done.
SELECT part, first, "end", events FROM {schema}.parts ORDER BY part;

-- name: parts_done
-- One is done.
UPDATE {schema}.parts SET events = $2 WHERE part = $1 AND events IS NULL;

-- name: rivals
-- Orders that claim an event which another one keeps, with the version at which they first do. The one that has it live
-- keeps it, else the one for which it happened first.
SELECT order_id, min(version) AS version
FROM (
    SELECT s.order_id, s.version,
           row_number() OVER (
               PARTITION BY s.event_uuid, s.source_no
               ORDER BY (l.order_id = s.order_id AND l.version = s.version) DESC NULLS LAST,
                        s.occurred_at, s.order_id, s.version
           ) AS place
    FROM (SELECT *, count(*) OVER (PARTITION BY event_uuid, source_no) AS claims FROM {schema}.ledger) AS s
    LEFT JOIN projector.ledger AS l USING (event_uuid, source_no)
    WHERE s.claims > 1
) AS c
WHERE place > 1
GROUP BY order_id;

-- name: history_cut
-- Without these orders' events from a version on.
DELETE FROM {schema}.ledger AS l
USING unnest($1::text[], $2::bigint[]) AS u (order_id, version)
WHERE l.order_id = u.order_id AND l.version >= u.version;

-- name: orders_out
-- Without these orders' rows.
DELETE FROM {table} WHERE order_id = ANY($1::text[]);

-- name: analyze
-- Statistics, hint bits and the visibility map, before readers come.
VACUUM (ANALYZE) {table};

-- name: capture_create
-- The statements that begin to note which orders are written.
SELECT format(
           'CREATE OR REPLACE TRIGGER touched_by_%s AFTER %s ON projector.orders REFERENCING %s TABLE AS written '
           'FOR EACH STATEMENT EXECUTE FUNCTION projector.touch_orders()',
           lower(w.kind), w.kind, CASE w.kind WHEN 'DELETE' THEN 'OLD' ELSE 'NEW' END
       )
FROM (VALUES ('INSERT'), ('UPDATE'), ('DELETE')) AS w (kind);

-- name: capture_drop
-- The statements that end it, on whichever table the orders are by now.
SELECT format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass)
FROM pg_trigger AS t
WHERE t.tgfoid = 'projector.touch_orders()'::regprocedure AND NOT t.tgisinternal;

-- name: capture_off
-- The statements that switch it off: that waits for writers, not for readers.
SELECT format('ALTER TABLE %s DISABLE TRIGGER %I', t.tgrelid::regclass, t.tgname)
FROM pg_trigger AS t
WHERE t.tgfoid = 'projector.touch_orders()'::regprocedure AND NOT t.tgisinternal AND t.tgenabled <> 'D';

-- name: capture_there
-- Are they all there, and on?
SELECT count(*) = 3
FROM pg_trigger
WHERE tgfoid = 'projector.touch_orders()'::regprocedure AND tgrelid = 'projector.orders'::regclass AND tgenabled = 'O';

-- name: capture_any
-- Is any of them there?
SELECT EXISTS (SELECT FROM pg_trigger WHERE tgfoid = 'projector.touch_orders()'::regprocedure);

-- name: touched_clear
-- Nothing is noted.
DELETE FROM projector.touched_orders;

-- name: touched_differing
-- Note every live order whose version, or erasure, isn't what it is there. One that isn't live has no news.
INSERT INTO projector.touched_orders (order_id)
SELECT order_id
FROM (SELECT order_id, version, erased FROM projector.orders WHERE version > 0 OR erased) AS l
LEFT JOIN (SELECT order_id, version, erased FROM {schema}.orders WHERE version > 0 OR erased) AS s USING (order_id)
WHERE l.version IS DISTINCT FROM s.version OR l.erased IS DISTINCT FROM s.erased;

-- name: touched_take
-- The orders of so many notes, away from the notes, with all that is noted of them.
WITH taken AS (
    DELETE FROM projector.touched_orders
    WHERE order_id IN (SELECT order_id FROM projector.touched_orders LIMIT $1)
    RETURNING order_id
)
SELECT order_id, count(*) AS notes FROM taken GROUP BY order_id;

-- name: touched_count
-- How much is noted.
SELECT count(*) FROM projector.touched_orders;

-- name: touched_read
-- What is noted.
SELECT DISTINCT order_id FROM projector.touched_orders;

-- name: ledger_copy
-- Live history of these orders beyond the shadow's version.
INSERT INTO {schema}.ledger
SELECT l.*
FROM unnest($1::text[], $2::bigint[]) AS u (order_id, version)
JOIN projector.ledger AS l ON l.order_id = u.order_id AND l.version > u.version
ON CONFLICT DO NOTHING;

-- name: ledger_forget
-- Erased orders' history.
DELETE FROM {schema}.ledger WHERE order_id = ANY($1::text[]);

-- name: erased_in
-- Erased orders of a range.
SELECT order_id, version
FROM projector.orders
WHERE erased AND order_id >= $1 AND ($2::text IS NULL OR order_id < $2);

-- name: letters_known
-- Records that live work has in dead letters, whatever the reason, and which nobody has retried.
SELECT topic, partition, "offset", md5(coalesce(value, '\x')) AS digest
FROM projector.dead_letters
WHERE topic = ANY($1::text[]) AND resolution IS DISTINCT FROM 'retried';

-- name: orders_any
-- Is there any order, live?
SELECT EXISTS (SELECT FROM projector.orders WHERE version > 0 OR erased);

-- name: checkpoints_all
-- How far each partition is applied.
SELECT topic, partition, next_offset FROM projector.checkpoints WHERE topic = ANY($1::text[]);

-- name: columns_shared
-- The columns that a live table and its shadow both have, of one type.
SELECT l.attname
FROM pg_attribute AS l
JOIN pg_attribute AS s
    ON s.attrelid = format('%I.%I', $1::text, $2::text)::regclass AND s.attname = l.attname AND s.atttypid = l.atttypid
WHERE l.attrelid = format('projector.%I', $2::text)::regclass
  AND l.attnum > 0 AND NOT l.attisdropped AND s.attnum > 0 AND NOT s.attisdropped
ORDER BY l.attnum;

-- name: same_columns
-- Has a live table the columns of the one in this schema, in their order?
SELECT (SELECT array_agg((a.attname, a.atttypid, a.attnotnull)::text ORDER BY a.attnum)
        FROM pg_attribute AS a
        WHERE a.attrelid = format('projector.%I', $2::text)::regclass AND a.attnum > 0 AND NOT a.attisdropped)
     = (SELECT array_agg((a.attname, a.atttypid, a.attnotnull)::text ORDER BY a.attnum)
        FROM pg_attribute AS a
        WHERE a.attrelid = format('%I.%I', $1::text, $2::text)::regclass AND a.attnum > 0 AND NOT a.attisdropped);

-- name: rows_differ
-- Rows of a table with orders as keys that differ, those of touched orders aside.
SELECT {keys}, count(*) OVER () AS differing, to_jsonb(l)::text AS live, to_jsonb(s)::text AS rebuilt
FROM (SELECT {columns} FROM {live} WHERE {meant}) AS l
FULL JOIN (SELECT {columns} FROM {shadow} WHERE {meant}) AS s USING ({keys})
WHERE (l IS DISTINCT FROM s)
  AND NOT EXISTS (SELECT FROM projector.touched_orders AS t WHERE t.order_id = coalesce(l.order_id, s.order_id))
ORDER BY {sorted_keys}
LIMIT $1;

-- name: histories_differ
-- The same of orders' events: those that were dropped here are due there alone.
SELECT {keys}, count(*) OVER () AS differing, to_jsonb(l)::text AS live, to_jsonb(s)::text AS rebuilt
FROM (SELECT {columns} FROM {live}) AS l
FULL JOIN (SELECT {columns} FROM {shadow}) AS s USING ({keys})
WHERE (l IS DISTINCT FROM s)
  AND NOT EXISTS (SELECT FROM projector.touched_orders AS t WHERE t.order_id = coalesce(l.order_id, s.order_id))
  AND NOT (
      l IS NULL AND EXISTS (
          SELECT FROM projector.pruned_orders AS p WHERE p.order_id = s.order_id AND s.version <= p.version
      )
  )
ORDER BY {sorted_keys}
LIMIT $1;

-- name: sums_differ
-- Sums that differ, shards added up.
SELECT {keys}, to_jsonb(l)::text AS live, to_jsonb(s)::text AS rebuilt
FROM (SELECT {keys}, {sums} FROM {live} GROUP BY {keys} HAVING {not_all_zero}) AS l
FULL JOIN (SELECT {keys}, {sums} FROM {shadow} GROUP BY {keys} HAVING {not_all_zero}) AS s USING ({keys})
WHERE l IS DISTINCT FROM s;

-- name: vacuum_waits
-- Neither readers nor writers, but whoever else would be in the way for long.
LOCK TABLE {relations} IN SHARE UPDATE EXCLUSIVE MODE;

-- name: writers_wait
-- Those that had begun are in, and no other begins. Checkpoints before orders, as every batch takes them.
LOCK TABLE projector.checkpoints, projector.orders IN SHARE ROW EXCLUSIVE MODE;

-- name: readers_wait
-- The last few milliseconds.
LOCK TABLE {relations} IN ACCESS EXCLUSIVE MODE;

-- name: obstacles
-- What would be lost, or go on reading the old rows, were these tables swapped.
SELECT DISTINCT format('%s %s.%s', w.what, w.schema, w.name) AS obstacle
FROM (
    SELECT 'the materialized view' AS what, n.nspname AS schema, v.relname AS name, d.refobjid AS relation
    FROM pg_depend AS d
    JOIN pg_rewrite AS r ON r.oid = d.objid
    JOIN pg_class AS v ON v.oid = r.ev_class AND v.relkind = 'm'
    JOIN pg_namespace AS n ON n.oid = v.relnamespace
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
    UNION ALL
    SELECT 'a foreign key of', n.nspname, c.relname, k.confrelid
    FROM pg_constraint AS k
    JOIN pg_class AS c ON c.oid = k.conrelid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE k.contype = 'f'
    UNION ALL
    SELECT 'the trigger', c.relname, t.tgname, t.tgrelid
    FROM pg_trigger AS t
    JOIN pg_class AS c ON c.oid = t.tgrelid
    WHERE NOT t.tgisinternal AND t.tgfoid <> 'projector.touch_orders()'::regprocedure
    UNION ALL
    SELECT 'the publication of', c.relnamespace::regnamespace::text, c.relname, p.prrelid
    FROM pg_publication_rel AS p
    JOIN pg_class AS c ON c.oid = p.prrelid
    UNION ALL
    SELECT 'row security of', c.relnamespace::regnamespace::text, c.relname, c.oid
    FROM pg_class AS c
    WHERE c.relrowsecurity
    UNION ALL
    SELECT 'the policy', c.relname, p.polname, p.polrelid
    FROM pg_policy AS p
    JOIN pg_class AS c ON c.oid = p.polrelid
    UNION ALL
    SELECT 'the rule', c.relname, r.rulename, r.ev_class
    FROM pg_rewrite AS r
    JOIN pg_class AS c ON c.oid = r.ev_class
    WHERE c.relkind NOT IN ('v', 'm')
    UNION ALL
    SELECT 'the table', c.relnamespace::regnamespace::text, c.relname, i.inhparent
    FROM pg_inherits AS i
    JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE NOT c.relispartition
    UNION ALL
    SELECT 'the function', f.pronamespace::regnamespace::text, f.proname, d.refobjid
    FROM pg_depend AS d
    JOIN pg_proc AS f ON f.oid = d.objid
    WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_class'::regclass
    UNION ALL
    SELECT 'another owner''s view', n.nspname, v.relname, d.refobjid
    FROM pg_depend AS d
    JOIN pg_rewrite AS r ON r.oid = d.objid
    JOIN pg_class AS v ON v.oid = r.ev_class AND v.relkind = 'v' AND NOT pg_has_role(v.relowner, 'USAGE')
    JOIN pg_namespace AS n ON n.oid = v.relnamespace
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
) AS w
WHERE w.relation IN (SELECT format('projector.%I', t)::regclass FROM unnest($1::text[]) AS t)
ORDER BY obstacle;

-- name: view_grows
-- Has a read model's view all its columns as they are, and perhaps more, in the probe's? Then it can be replaced.
SELECT bool_and(p.attname IS NOT DISTINCT FROM v.attname AND p.atttypid IS NOT DISTINCT FROM v.atttypid)
FROM pg_attribute AS v
LEFT JOIN pg_attribute AS p ON p.attrelid = format('%I.%I', $1::text, $2::text)::regclass AND p.attnum = v.attnum
WHERE v.attrelid = format('read_model.%I', $3::text)::regclass AND v.attnum > 0;

-- name: hangs_on_view
-- What reads a read model's view.
SELECT DISTINCT format('the view %s.%s', n.nspname, w.relname) AS obstacle
FROM pg_depend AS d
JOIN pg_rewrite AS r ON r.oid = d.objid
JOIN pg_class AS w ON w.oid = r.ev_class AND w.oid <> d.refobjid
JOIN pg_namespace AS n ON n.oid = w.relnamespace
WHERE d.classid = 'pg_rewrite'::regclass
  AND d.refclassid = 'pg_class'::regclass
  AND d.refobjid = format('read_model.%I', $1::text)::regclass
UNION
SELECT format('the function %s.%s', f.pronamespace::regnamespace, f.proname)
FROM pg_depend AS d
JOIN pg_proc AS f ON f.oid = d.objid
WHERE d.classid = 'pg_proc'::regclass
  AND d.refclassid = 'pg_class'::regclass
  AND d.refobjid = format('read_model.%I', $1::text)::regclass;

-- name: view_create
-- A view.
CREATE VIEW {view} AS {body};

-- name: view_options
-- The statements that give a view the options, the owner and the comment that it has.
SELECT s.statement
FROM pg_class AS v
CROSS JOIN LATERAL (
    VALUES (format('ALTER VIEW %I.%I SET (%s)', $1::text, v.relname, array_to_string(v.reloptions, ', '))),
           (format('ALTER VIEW %I.%I OWNER TO %s', $1::text, v.relname, v.relowner::regrole)),
           (format('COMMENT ON VIEW %I.%I IS %L', $1::text, v.relname, obj_description(v.oid)))
) AS s (statement)
WHERE v.oid = format('%I.%I', $1::text, $2::text)::regclass
  AND (s.statement NOT LIKE '% SET ()' AND s.statement NOT LIKE '% IS NULL');

-- name: readers_views
-- The views that read these tables: each belongs to the tables it was made over, not to their names.
SELECT DISTINCT n.nspname AS schema, v.relname AS name,
       format('CREATE OR REPLACE VIEW %I.%I', n.nspname, v.relname)
           || coalesce(' WITH (' || array_to_string(v.reloptions, ', ') || ')', '')
           || ' AS ' || pg_get_viewdef(v.oid) AS again
FROM pg_depend AS d
JOIN pg_rewrite AS r ON r.oid = d.objid
JOIN pg_class AS v ON v.oid = r.ev_class AND v.relkind = 'v'
JOIN pg_namespace AS n ON n.oid = v.relnamespace
WHERE d.classid = 'pg_rewrite'::regclass
  AND d.refclassid = 'pg_class'::regclass
  AND d.refobjid IN (SELECT format('projector.%I', t)::regclass FROM unnest($1::text[]) AS t)
ORDER BY schema, name;

-- name: plain_path
-- Names that the catalog prints are whole.
SELECT set_config('search_path', 'pg_catalog', true);

-- name: usual_path
-- As it was.
SET LOCAL search_path TO DEFAULT;

-- name: grants_of_view
-- The statements that give others the rights on a view that they have.
SELECT format(
           'GRANT %s ON %I.%I TO %s%s', a.privilege_type, $1::text, $2::text,
           CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
           CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
       )
FROM pg_class AS c
CROSS JOIN aclexplode(c.relacl) AS a
WHERE c.oid = format('%I.%I', $1::text, $2::text)::regclass AND a.grantee <> c.relowner;

-- name: view_drop
-- A view whose columns are others now.
DROP VIEW {view};

-- name: table_to
-- A table, with all that is its own, into another schema.
ALTER TABLE {table} SET SCHEMA {schema};

-- name: schema_rename
-- A schema under another name.
ALTER SCHEMA {schema} RENAME TO {name};

-- name: swapped_create
-- Which tables are swapped out, and of which make they are, for a rollback.
CREATE TABLE {schema}.swapped AS
SELECT t AS name, m.fingerprint
FROM unnest($1::text[]) AS t
LEFT JOIN projector.read_models AS m ON m.name = t;

-- name: swapped_read
-- What was swapped out.
SELECT name, fingerprint FROM {schema}.swapped;

-- name: make_set
-- Rows of this make stand here now.
UPDATE projector.read_models
SET fingerprint = $2, generation = generation + 1, installed_at = now()
WHERE name = $1;

-- name: fence
-- Workers that write in the old make lose their partitions. They look at the makes before they take any again.
UPDATE projector.checkpoints SET epoch = epoch + 1, owner = $1;

-- name: parked_due
-- Parked events whose turn has come, or gone.
SELECT p.topic, p.partition, p."offset", p."timestamp", p.key, p.value, p.headers::text AS headers
FROM projector.parked_events AS p
JOIN projector.orders AS o ON o.order_id = p.order_id AND p.version <= o.version + 1
ORDER BY p.order_id, p.version, p.arrival
LIMIT $1;

-- name: parked_out
-- They are parked no longer.
DELETE FROM projector.parked_events AS p
USING unnest($1::uuid[], $2::integer[]) AS u (event_uuid, source_no)
WHERE p.event_uuid = u.event_uuid AND p.source_no = u.source_no;

-- name: order_lock
-- Nobody writes it but this transaction.
SELECT FROM projector.orders WHERE order_id = $1 FOR UPDATE;

-- name: mend_lock
-- One order is mended at a time. The number was made once at random.
SELECT pg_advisory_xact_lock(6120943771580263);

-- name: states
-- The states of all other orders that are placed.
SELECT order_id, revision, version, erased, status, customer_id, customer_name, customer_email, currency,
       lines::text AS lines, unit_count::text AS unit_count, trunc(total * 10000)::text AS total,
       trunc(paid * 10000)::text AS paid, trunc(refunded * 10000)::text AS refunded,
       shipping_address::text AS shipping_address, carrier, tracking_number, cancel_reason, placed_at,
       confirmed_at, paid_at, shipped_at, delivered_at, cancelled_at, last_event_id, last_event_at
FROM projector.orders
WHERE placed_at IS NOT NULL AND order_id <> $1;

-- name: ledger_until
-- The history of the shadow's orders, as far as they go.
INSERT INTO {shadow}.ledger
SELECT l.* FROM projector.ledger AS l JOIN {shadow}.orders AS o ON o.order_id = l.order_id AND l.version <= o.version;

-- name: processed_events_of
-- The ledger as the read models' views have it.
CREATE VIEW {schema}.processed_events AS
SELECT coalesce(l.plain_id, l.event_uuid::text) AS event_id, s.source AS event_source, l.order_id, l.version,
       l.event_type, l.occurred_at, l.processed_at, l.data
FROM {schema}.ledger AS l
JOIN projector.event_sources AS s USING (source_no);

-- name: copy_of_view
-- What a view shows, as rows.
CREATE TABLE {table} AS {body};

-- name: key_of_copy
-- By which they are looked up.
ALTER TABLE {table} ADD PRIMARY KEY ({keys});

-- name: grants_of_copy
-- The statements that let those read a copy who may read the read model.
SELECT format(
           'GRANT SELECT ON %I.%I TO %s', $1::text, $2::text,
           CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
       )
FROM pg_class AS c
CROSS JOIN aclexplode(c.relacl) AS a
WHERE c.oid = format('read_model.%I', $2::text)::regclass
  AND a.grantee <> c.relowner
  AND a.privilege_type = 'SELECT';

-- name: grants_of_schema
-- The same of its schema.
SELECT format(
           'GRANT USAGE ON SCHEMA %I TO %s', $1::text,
           CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
       )
FROM pg_namespace AS n
CROSS JOIN aclexplode(n.nspacl) AS a
WHERE n.nspname = 'read_model' AND a.grantee <> n.nspowner AND a.privilege_type = 'USAGE';
