-- Batches of a tenant that may have had calls in a period, in order, behind a place.
-- $1: the tenant; $2, $3: the period; $4, $5: the place; $6: how many.
SELECT id, created_at
FROM batch
WHERE tenant_id = $1 AND created_at < $3 AND (finished_at IS NULL OR finished_at >= $2)
    AND (created_at, id) > ($4, $5)
ORDER BY created_at, id
LIMIT $6
