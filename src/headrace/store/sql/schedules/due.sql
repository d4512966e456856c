-- Schedules whose next moment has come; whoever holds one looks at its moments alone.
SELECT id, tenant_id, name, cron, timezone, recipe, source, settings, state, next_at, created_at
FROM schedule
WHERE state = 'active' AND next_at <= $1
ORDER BY next_at
LIMIT $2
FOR UPDATE SKIP LOCKED
