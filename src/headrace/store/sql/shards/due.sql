-- Waiting items whose time has come, of batches that run; those of paused ones do not count.
SELECT due.batch_id, due.tenant_id, array_agg(due.idx ORDER BY due.idx) AS idxs
FROM (
    SELECT item.batch_id, item.idx, batch.tenant_id
    FROM item
    JOIN batch ON batch.id = item.batch_id AND batch.state IN ('canary', 'running')
    WHERE item.state = 'waiting' AND item.due_at <= $1
    ORDER BY item.due_at
    LIMIT $2
) AS due
GROUP BY due.batch_id, due.tenant_id
