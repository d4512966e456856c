-- A tenant's files, the oldest first, those behind $2.
SELECT id, tenant_id, name, purpose, sha256, size_bytes, created_at, expires_at
FROM file
WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2) AND ($3::text IS NULL OR purpose = $3)
    AND (expires_at IS NULL OR expires_at > $4)
ORDER BY id
LIMIT $5
