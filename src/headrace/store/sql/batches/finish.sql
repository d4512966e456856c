-- Close a batch whose last open item has ended; one that was being cancelled ends cancelled.
UPDATE batch
SET state = CASE WHEN state = 'finalizing' THEN 'cancelled' ELSE 'completed' END,
    finished_at = $2, pause = NULL
WHERE id = $1 AND state IN ('canary', 'running', 'paused', 'finalizing')
RETURNING state
