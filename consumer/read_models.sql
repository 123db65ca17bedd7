-- SQL that the engine writes for a read model, from its columns. {braces} are filled with quoted identifiers and
-- with the few expressions of consumer.read_model_sql.

-- name: document_table
-- A document's rows.
CREATE TABLE {table} ({columns}, CONSTRAINT {constraint} PRIMARY KEY ({keys})) WITH (fillfactor = 85);

-- name: contribution_table
-- A contribution's sums, kept per shard so that two workers never wait for each other's hot rows.
CREATE TABLE {table} (
    {columns}, shard integer NOT NULL, CONSTRAINT {constraint} PRIMARY KEY ({keys}, shard)
) WITH (fillfactor = 70);

-- name: contribution_stage
-- Where a rebuild puts shares, range by range, before it adds them up.
CREATE TABLE {stage} ({columns});

-- name: contribution_merge
-- Add them up, in nobody's shard.
INSERT INTO {table} ({names}, shard)
SELECT {keys}, {totals}, 0 FROM {stage} GROUP BY {keys} HAVING {not_all_zero};

-- name: contribution_unstage
-- They are added up.
DROP TABLE {stage};

-- name: document_reading
-- What readers see of a document.
SELECT {names} FROM {table};

-- name: contribution_reading
-- What readers see of a contribution: the shards added up, and no row whose every figure is zero.
SELECT {keys}, {totals} FROM {table} GROUP BY {keys} HAVING {not_all_zero};

-- name: view
-- What readers query.
CREATE OR REPLACE VIEW {view} AS {body};

-- name: document_stands
-- Is this row there, as it is?
SELECT EXISTS (SELECT FROM {table} WHERE ROW ({names}) IS NOT DISTINCT FROM ROW ({parameters}));

-- name: contribution_sums_of
-- What a key's sums are, over all shards.
SELECT {integers} FROM {table} WHERE ROW ({keys}) = ROW ({key_parameters});

-- name: document_put
-- Write rows of a document.
INSERT INTO {table} ({names})
SELECT {names} FROM unnest({arrays}) AS u ({names})
ORDER BY {sorted_keys}
ON CONFLICT ({keys}) DO UPDATE SET {replacements};

-- name: document_remove
-- Delete rows of a document.
DELETE FROM {table} WHERE order_id = ANY({gone}::text[]);

-- name: contribution_add
-- Add to sums, in key order, so that two writers of one shard never deadlock.
INSERT INTO {table} AS t ({names}, shard)
SELECT {names}, {shard}::integer FROM unnest({arrays}) AS u ({names})
ORDER BY {sorted_keys}
ON CONFLICT ({keys}, shard) DO UPDATE SET {sums};

-- name: together
-- A batch's writes to all read models: one round trip.
WITH {parts} SELECT;

-- name: batch
-- A small batch's writes to everything, all at once: one round trip. The first two are the orders' and the ledger's, which
-- are counted, and so done before the others.
WITH {parts} SELECT (SELECT count(*) FROM part_0) AS orders, (SELECT count(*) FROM part_1) AS entries;

-- name: counted_part
-- One whose rows are counted.
{name} AS ({statement} RETURNING 1);

-- name: part
-- One of them.
{name} AS ({statement});
