-- Held by whoever migrates; belongs to the session, since migrations commit one by one.
SELECT pg_advisory_lock($1)
