SELECT id, tenant_id, name, shown, scope, created_at, expires_at, revoked_at
FROM api_key
WHERE tenant_id = $1 OR $1 IS NULL
ORDER BY created_at, id
