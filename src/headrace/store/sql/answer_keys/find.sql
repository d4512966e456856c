SELECT id, tenant_id, key, request_digest, created_at, expires_at, told
FROM answer_key
WHERE tenant_id = $1 AND key = $2
