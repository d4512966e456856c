SELECT pg_try_advisory_lock(7263, $1::integer)
