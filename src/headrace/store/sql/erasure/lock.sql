-- A batch whose data is to go, kept from being opened again until the transaction ends.
SELECT batch.tenant_id, batch.forgotten_at IS NOT NULL AS is_forgotten,
    batch.state IN ('completed', 'cancelled', 'expired', 'failed') AS is_over
FROM batch
WHERE batch.id = $1
FOR UPDATE OF batch
