SELECT id, request_digest FROM file_batch WHERE tenant_id = $1 AND idempotency_key = $2
