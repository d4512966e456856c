SELECT id, tenant_id, name, shown, scope, created_at, expires_at, revoked_at,
    last_used_at, replaced_by
FROM api_key
WHERE digest = $1
