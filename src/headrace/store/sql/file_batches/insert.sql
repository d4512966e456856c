INSERT INTO file_batch (id, tenant_id, key_id, idempotency_key, request_digest, input_file_id,
    endpoint, metadata, outputs_end_after_s, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (tenant_id, idempotency_key) DO NOTHING
RETURNING id
