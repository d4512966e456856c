-- Workers that never said goodbye and whose session is gone.
SELECT id FROM worker
WHERE ended_at IS NULL AND id <> $1 AND pg_try_advisory_xact_lock(7262, id::integer)
