SELECT count(*) FILTER (WHERE NOT on_demand) AS batches, count(*) FILTER (WHERE on_demand) AS waiting
FROM batch
WHERE tenant_id = $1 AND id <> $2
    AND state IN ('validating', 'canary', 'running', 'paused', 'finalizing')
