INSERT INTO api_key (id, tenant_id, name, shown, digest, scope, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
