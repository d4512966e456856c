SELECT id, url, events, state, reason, created_at
FROM webhook
WHERE tenant_id = $1 AND id > $2
ORDER BY id
LIMIT $3
