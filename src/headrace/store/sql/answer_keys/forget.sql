DELETE FROM answer_key
WHERE id = $1 AND told IS NULL AND NOT EXISTS (
    SELECT FROM batch WHERE batch.tenant_id = $2 AND batch.idempotency_key = ANY($3::text[])
)
