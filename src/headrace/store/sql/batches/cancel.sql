UPDATE batch SET state = 'finalizing', pause = NULL
WHERE id = $1 AND state IN ('canary', 'running', 'paused', 'validating')
RETURNING tenant_id, reserve_microcredits
