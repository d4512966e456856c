-- The same, and not before a migration that is about to change it has ended. The lock is gone with
-- the statement.
SELECT key, value FROM schema_note WHERE key = ANY($1::text[]) FOR SHARE
