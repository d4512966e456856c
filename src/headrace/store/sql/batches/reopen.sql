-- A completed batch runs again; one that runs, or is paused, stays so. Not without its data.
UPDATE batch SET state = CASE WHEN state = 'completed' THEN 'running' ELSE state END,
    finished_at = NULL
WHERE id = $1 AND state IN ('completed', 'running', 'canary', 'paused')
    AND inputs_gone_at IS NULL AND artifacts_gone_at IS NULL
RETURNING tenant_id, reserve_microcredits
