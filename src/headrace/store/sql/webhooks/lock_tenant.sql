-- One at a time for a tenant, so that its webhooks can be counted.
SELECT pg_advisory_xact_lock(hashtextextended('webhooks of ' || $1::text, 0))
