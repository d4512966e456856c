SELECT remote_id FROM provider_batch
WHERE provider = $1 AND remote_id IS NOT NULL AND created_at >= $2
