-- Nothing is still under way for an item that has ended.
SELECT attempt.batch_id AS batch, attempt.idx + 1 AS row, attempt.number AS attempt, attempt.state
FROM attempt
JOIN item ON item.batch_id = attempt.batch_id AND item.idx = attempt.idx
WHERE attempt.state IN ('started', 'accepted')
    AND item.state IN ('succeeded', 'failed', 'refused', 'cancelled', 'dead')
ORDER BY attempt.batch_id, attempt.idx, attempt.number
LIMIT 1000
