-- Tenants and classes that have items at a gate, or on the fast way there: a shard that a live
-- worker holds, or an express one. thin: one express shard is all.
SELECT batch.tenant_id, batch.class, bool_and(shard.express) AND count(*) < 2 AS thin
FROM shard
JOIN batch ON batch.id = shard.batch_id AND batch.state IN ('canary', 'running')
LEFT JOIN worker ON worker.id = shard.worker_id AND worker.ended_at IS NULL
WHERE shard.state = 'open' AND shard.job_id IS NOT NULL
    AND (shard.express OR worker.id IS NOT NULL)
GROUP BY batch.tenant_id, batch.class
