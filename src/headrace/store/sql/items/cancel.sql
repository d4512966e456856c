UPDATE item
SET state = 'cancelled', due_at = NULL, version = version + 1, changed_at = $2
WHERE batch_id = $1 AND state IN ('pending', 'waiting', 'unknown')
RETURNING idx, round
