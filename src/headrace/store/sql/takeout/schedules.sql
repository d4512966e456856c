SELECT id, name, cron, timezone, recipe AS recipe_name, source, settings, state, next_at, created_at
FROM schedule
WHERE tenant_id = $1 AND id > $2
ORDER BY id
LIMIT $3
