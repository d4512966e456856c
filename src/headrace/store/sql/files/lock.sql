-- One at a time for the bytes with a hash: one file's end must not take another's beginning away.
SELECT pg_advisory_xact_lock($1::bigint)
