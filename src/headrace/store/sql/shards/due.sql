-- Waiting items whose time has come, of batches that run.
SELECT item.batch_id, batch.tenant_id, array_agg(item.idx ORDER BY item.idx) AS idxs
FROM (
    SELECT batch_id, idx FROM item
    WHERE state = 'waiting' AND due_at <= $1
    ORDER BY due_at
    LIMIT $2
) AS item
JOIN batch ON batch.id = item.batch_id AND batch.state IN ('canary', 'running')
GROUP BY item.batch_id, batch.tenant_id
