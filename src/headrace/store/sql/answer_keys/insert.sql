-- A key past its time is as if it were new: what was bought under its old id is not found by it.
INSERT INTO answer_key AS known (id, tenant_id, key, request_digest, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant_id, key) DO UPDATE
SET id = excluded.id, request_digest = excluded.request_digest, told = NULL,
    created_at = excluded.created_at, expires_at = excluded.expires_at
WHERE known.expires_at <= excluded.created_at
RETURNING id
