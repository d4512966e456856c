-- Two changes of one plan, one after the other: each is laid over what the other left.
SELECT pg_advisory_xact_lock(hashtextextended('plan ' || $1::text, 0))
