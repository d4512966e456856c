-- Of all processes one at a time packs; a crash lets go of the lock.
SELECT pg_try_advisory_xact_lock(7163384619862914049)
