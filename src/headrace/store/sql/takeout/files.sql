SELECT id, name, purpose, sha256, size_bytes, created_at, expires_at
FROM file
WHERE tenant_id = $1 AND id > $2
ORDER BY id
LIMIT $3
