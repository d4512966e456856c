SELECT transfer.batch_id AS batch, transfer.idx + 1 AS row, item.state,
    count(*) AS posts
FROM transfer
JOIN item ON item.batch_id = transfer.batch_id AND item.idx = transfer.idx
WHERE transfer.kind = 'post'
GROUP BY transfer.batch_id, transfer.idx, item.state
HAVING count(*) > 1 OR item.state <> 'succeeded'
