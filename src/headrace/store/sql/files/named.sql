SELECT id, tenant_id, name, purpose, sha256, size_bytes, created_at, expires_at
FROM file
WHERE tenant_id = $1 AND (id = ANY($2::uuid[]) OR sha256 = ANY($3::bytea[]))
    AND (expires_at IS NULL OR expires_at > $4)
