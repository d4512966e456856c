SELECT id, tenant_id, name, cron, timezone, recipe, source, settings, state, next_at, created_at
FROM schedule
WHERE tenant_id = $1 AND id = $2
