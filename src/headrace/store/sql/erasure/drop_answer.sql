-- The answer on demand that a batch was bought for: its key's id stands in the batch's own.
DELETE FROM answer_key
USING batch
WHERE batch.id = $1 AND answer_key.tenant_id = batch.tenant_id
    AND batch.idempotency_key LIKE 'on demand %'
    AND replace(answer_key.id::text, '-', '') = split_part(batch.idempotency_key, ' ', 3)
