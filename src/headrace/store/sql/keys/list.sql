SELECT id, tenant_id, name, shown, scope, created_at, expires_at, revoked_at,
    last_used_at, replaced_by
FROM api_key
WHERE tenant_id = $1 OR $1 IS NULL
ORDER BY created_at, id
