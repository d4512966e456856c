-- The first key of all: the lock of the table makes one of several servers that start at once.
INSERT INTO api_key (id, tenant_id, name, shown, digest, scope, created_at, expires_at)
SELECT $1, $2, $3, $4, $5, $6, $7, $8
WHERE NOT EXISTS (SELECT FROM api_key)
RETURNING id
