-- One process at a time works on a schedule; a crash lets go of the lock.
SELECT pg_try_advisory_xact_lock(hashtextextended('schedule ' || $1::text, 0))
