-- What of each tenant, class and recipe is open. present: it has items at a gate, or on the fast way
-- there: a shard that a live worker holds, or an express one. thin: one express shard is all of that.
-- open: its whole shards, held or in the queue. shards: those and the express ones, of so many items.
SELECT told.tenant_id, told.class, told.recipe_version,
    bool_or(told.at_gate) AS present,
    coalesce(bool_and(told.express) FILTER (WHERE told.at_gate), false)
        AND count(*) FILTER (WHERE told.at_gate) < 2 AS thin,
    count(*) FILTER (WHERE NOT told.express) AS open,
    count(*) AS shards, sum(told.items)::bigint AS items
FROM (
    SELECT batch.tenant_id, batch.class, batch.recipe_version, shard.express,
        shard.express OR worker.id IS NOT NULL AS at_gate,
        coalesce(cardinality(shard.idxs), shard.idx_to - shard.idx_from + 1) AS items
    FROM shard
    JOIN batch ON batch.id = shard.batch_id AND batch.state IN ('canary', 'running')
    LEFT JOIN worker ON worker.id = shard.worker_id AND worker.ended_at IS NULL
    WHERE shard.state = 'open' AND shard.job_id IS NOT NULL
) AS told
GROUP BY told.tenant_id, told.class, told.recipe_version
