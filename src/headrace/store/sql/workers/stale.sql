-- Workers that never signed out and whose session is gone. The lock is let go of at commit.
SELECT id, host, pid, started_at FROM worker
WHERE ended_at IS NULL AND pg_try_advisory_xact_lock(7262, id::integer)
ORDER BY id
