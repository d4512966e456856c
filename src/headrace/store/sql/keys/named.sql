-- Keys of a tenant (or of anybody) by their id or their first characters.
SELECT id, tenant_id, name, shown, scope, created_at, expires_at, revoked_at, last_used_at,
    replaced_by
FROM api_key
WHERE (id = $1 OR shown = $2) AND (tenant_id = $3 OR $3 IS NULL)
ORDER BY created_at
