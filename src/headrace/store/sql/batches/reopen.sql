UPDATE batch SET state = 'running', finished_at = NULL
WHERE id = $1 AND state IN ('completed', 'running')
RETURNING tenant_id, reserve_microcredits
