-- Executed lines whose items were cancelled meanwhile: they are billed all the same.
SELECT line.key, line.batch_id, line.idx, line.provider, line.line_group, line.answer,
    line.state, item.attempts AS number
FROM provider_batch_line AS line
JOIN item ON item.batch_id = line.batch_id AND item.idx = line.idx
WHERE line.state IN ('answered', 'unexecuted')
    AND item.state IN ('failed', 'cancelled', 'dead')
    AND EXISTS (
        SELECT FROM attempt
        WHERE attempt.batch_id = line.batch_id AND attempt.idx = line.idx
            AND attempt.number = item.attempts AND attempt.state = 'unknown'
    )
LIMIT $1
FOR UPDATE OF line SKIP LOCKED
