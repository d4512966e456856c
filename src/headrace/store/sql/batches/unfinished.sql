SELECT id FROM batch
WHERE tenant_id = $1 AND state IN ('validating', 'canary', 'running', 'paused', 'finalizing')
ORDER BY created_at
