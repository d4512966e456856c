-- Held by whoever migrates; belongs to the session, since migrations commit one by one. Asked for
-- again and again instead of waited for: an index that is built CONCURRENTLY would wait for whoever
-- waits here.
SELECT pg_try_advisory_lock($1)
