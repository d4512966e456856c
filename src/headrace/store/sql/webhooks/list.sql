SELECT id, tenant_id, url, events, state, reason, failing_since, old_secret_until, created_at
FROM webhook
WHERE tenant_id = $1
ORDER BY id
