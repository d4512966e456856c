-- Held by the worker's own session: the server lets go of it the moment the worker is gone.
SELECT pg_advisory_lock(7262, $1::integer)
