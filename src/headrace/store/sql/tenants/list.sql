SELECT id, name, plan, timezone, state, state_reason, unlimited, created_at, daily_microcredits_max
FROM tenant
WHERE id = $1 OR $1 IS NULL
ORDER BY created_at, id
