-- Of all processes one at a time works at a batch's files; a crash lets go of the lock.
SELECT pg_try_advisory_xact_lock($1::bigint)
