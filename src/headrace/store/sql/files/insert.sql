INSERT INTO file (id, tenant_id, name, purpose, sha256, size_bytes, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
