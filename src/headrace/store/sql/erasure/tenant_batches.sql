-- A tenant's batches that are not forgotten, and those of files that never became one.
SELECT id, state IN ('completed', 'cancelled', 'expired', 'failed') AS is_over
FROM batch
WHERE tenant_id = $1 AND forgotten_at IS NULL
UNION ALL
SELECT id, state IN ('completed', 'cancelled', 'expired', 'failed') AS is_over
FROM file_batch
WHERE tenant_id = $1 AND NOT EXISTS (SELECT FROM batch WHERE batch.id = file_batch.id)
