-- One at a time for a tenant, so that its schedules can be counted.
SELECT pg_advisory_xact_lock(hashtextextended('schedules of ' || $1::text, 0))
