-- Waiting items whose time has come, of batches that run (those of paused ones do not count; of
-- cancelled ones, only those with a job at a provider are left): the
-- first of each batch, so that one with many hides no other.
SELECT batch.id, batch.tenant_id, batch.class, batch.recipe_version, plan.weight, plan.calls_max, tenant.served_cost, due.idxs
FROM batch
JOIN batch_progress ON batch_progress.batch_id = batch.id AND batch_progress.waiting > 0
JOIN tenant ON tenant.id = batch.tenant_id
JOIN plan ON plan.name = tenant.plan
CROSS JOIN LATERAL (
    SELECT array_agg(first.idx ORDER BY first.due_at, first.idx) AS idxs
    FROM (
        SELECT item.idx, item.due_at FROM item
        WHERE item.batch_id = batch.id AND item.state = 'waiting' AND item.due_at <= $1
        ORDER BY item.due_at
        LIMIT $2
    ) AS first
) AS due
WHERE batch.state IN ('canary', 'running', 'finalizing') AND due.idxs IS NOT NULL
ORDER BY batch.created_at
