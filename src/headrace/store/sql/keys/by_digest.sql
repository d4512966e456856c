SELECT id, tenant_id, name, shown, scope, created_at, expires_at, revoked_at
FROM api_key
WHERE digest = $1
