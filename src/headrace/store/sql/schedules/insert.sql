-- A new schedule, unless the tenant has $10 of them.
INSERT INTO schedule (id, tenant_id, name, cron, timezone, recipe, source, settings, next_at,
    created_at)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $11
WHERE (SELECT count(*) FROM schedule WHERE tenant_id = $2) < $10
RETURNING id
