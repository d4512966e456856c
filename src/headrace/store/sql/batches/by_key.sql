SELECT id, request_digest FROM batch WHERE tenant_id = $1 AND idempotency_key = $2
