-- migrate:up

-- What a retry and a discard leave on a dead letter. Every column may be null, so that workers of the release
-- before go on writing letters.

-- Whoever waits for this table makes everybody wait who comes after: rather fail, and be run again.
SET LOCAL lock_timeout = '5s';

ALTER TABLE projector.dead_letters
    ADD COLUMN last_error      text,               -- why the last retry was refused; `error` is the first reason
    ADD COLUMN last_attempt_at timestamptz,        -- when that was; null: never retried, or with success only
    ADD COLUMN resolved_by     text COLLATE "C",   -- who retried or discarded it
    ADD COLUMN resolution_note text,               -- retried: what became of it; discarded: why
    -- Not checked for rows that are there: until now nobody but a person could resolve a letter.
    ADD CONSTRAINT dead_letters_resolution_check CHECK (resolution IN ('retried', 'discarded')) NOT VALID;

-- migrate:down

-- Forward-only: what a migration brought is taken back by a later one.
