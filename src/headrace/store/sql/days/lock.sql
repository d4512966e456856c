-- Whoever counts a tenant's open batches does so alone, until it commits.
SELECT pg_advisory_xact_lock(hashtextextended('open batches of ' || $1::text, 0))
